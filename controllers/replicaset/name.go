package replicaset

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds/core"
)

const (
	suffixLetters = "bcdfghjklmnpqrstvwxz2456789" // upstream's: no vowels, no look-alikes
	suffixLength  = 5
	maxPrefix     = 63 - suffixLength // what generateName leaves of a long name
)

// podNames gives n new pods names of upstream's shape, which look random but follow from the state they are planned in: if the answer to a create was lost, the
// next plan from the same state asks for the same pod again instead of a second one. The ReplicaSet's version is part of that state, so that a pod does not get
// the name of one that was there before.
func podNames(s controllers.Reader, rs *appsv1.ReplicaSet, n int, groups ...[]*corev1.Pod) []string {
	var seen []string
	for _, pods := range groups {
		for _, pod := range pods {
			seen = append(seen, string(pod.UID))
		}
	}
	slices.Sort(seen)
	h := sha256.New()
	for _, part := range append(seen, string(rs.UID), rs.ResourceVersion) {
		io.WriteString(h, part+"\x00")
	}
	seed := h.Sum(nil)

	base := prefix(rs)
	base = base[:min(len(base), maxPrefix)]
	names := make([]string, 0, n)
	for i := uint64(0); len(names) < n; i++ {
		name := base + suffix(seed, i)
		if _, taken := s.Get(core.Pod, rs.Namespace, name); !taken && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func suffix(seed []byte, i uint64) string {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(slices.Clip(seed), i))
	x := binary.BigEndian.Uint64(sum[:])
	var b [suffixLength]byte
	for j := range b {
		b[j] = suffixLetters[x%uint64(len(suffixLetters))]
		x /= uint64(len(suffixLetters))
	}
	return string(b[:])
}
