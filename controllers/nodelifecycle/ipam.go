package nodelifecycle

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds/core"
)

// planIPAM gives every node without a range the lowest one that no node has. All nodes share one key, so that the engine never plans from a state that
// does not show yet what was given out before.
func planIPAM(o Options, s controllers.Reader) controllers.Plan {
	var p controllers.Plan
	nodes := controllers.All[*corev1.Node](s, core.Node, "")
	taken := map[netip.Prefix]bool{}
	for _, node := range nodes {
		for _, text := range append([]string{node.Spec.PodCIDR}, node.Spec.PodCIDRs...) {
			if r, err := netip.ParsePrefix(text); err == nil {
				taken[r.Masked()] = true
			}
		}
	}
	next := uint32(0)
	for _, node := range nodes {
		if node.Spec.PodCIDR != "" || node.DeletionTimestamp != nil {
			continue
		}
		var free netip.Prefix
		for free, next = nth(o, next), next+1; free.IsValid() && taken[free]; free, next = nth(o, next), next+1 {
		}
		if !free.IsValid() {
			p.Events = append(p.Events, controllers.Event{
				Kind: core.Node, About: node, Type: corev1.EventTypeNormal, Reason: "CIDRNotAvailable", Message: fmt.Sprintf("Node %s status is now: CIDRNotAvailable", node.Name),
			})
			continue
		}
		data, err := json.Marshal(map[string]any{
			"metadata": map[string]any{"uid": node.UID, "resourceVersion": node.ResourceVersion},
			"spec":     map[string]any{"podCIDR": free.String(), "podCIDRs": []string{free.String()}},
		})
		if err != nil {
			panic(err) // strings always encode
		}
		p.Patches = append(p.Patches, controllers.PatchOf(core.Node, node, types.MergePatchType, data))
	}
	return p
}

// nth is the n-th range of a node in an IPv4 prefix; not valid when there is none.
func nth(o Options, n uint32) netip.Prefix {
	if !o.PodCIDR.Addr().Is4() || o.NodeMask < o.PodCIDR.Bits() || uint64(n) >= 1<<(o.NodeMask-o.PodCIDR.Bits()) {
		return netip.Prefix{}
	}
	base := o.PodCIDR.Masked().Addr().As4()
	var addr [4]byte
	binary.BigEndian.PutUint32(addr[:], binary.BigEndian.Uint32(base[:])+n<<(32-o.NodeMask))
	return netip.PrefixFrom(netip.AddrFrom4(addr), o.NodeMask)
}
