package services

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
)

// shelf is a store of Services.
type shelf struct {
	mu       sync.Mutex
	services map[string]kinds.Object
}

func (s *shelf) Peek(*kinds.Kind, string, string) (kinds.Object, bool) { panic("not used") }
func (s *shelf) PeekOwned(*kinds.Kind, string, types.UID) []kinds.Object {
	panic("not used")
}
func (s *shelf) PeekField(*kinds.Kind, string, string, string) []kinds.Object { panic("not used") }
func (s *shelf) PeekList(*kinds.Kind, string, labels.Selector) []kinds.Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]kinds.Object, 0, len(s.services))
	for _, o := range s.services {
		out = append(out, o)
	}
	return out
}

type cluster struct {
	*shelf
	*Allocator
	now time.Time
}

func newCluster(t *testing.T, cidr string, ports [2]int32) *cluster {
	t.Helper()
	c := &cluster{shelf: &shelf{services: map[string]kinds.Object{}}, now: time.Now()}
	var err error
	c.Allocator, err = New(Config{CIDR: netip.MustParsePrefix(cidr), NodePorts: ports, Reader: c.shelf, Now: func() time.Time { return c.now }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func service(name string, t corev1.ServiceType, ip string, ports ...int32) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: corev1.ServiceSpec{Type: t, ClusterIP: ip, Selector: map[string]string{"a": "b"}}}
	for i, p := range ports {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: fmt.Sprint("p", i), Port: int32(80 + i), NodePort: p, Protocol: corev1.ProtocolTCP})
	}
	return s
}

// put admits and, unless told otherwise, stores.
func (c *cluster) put(s *corev1.Service, end string) (*corev1.Service, error) {
	key := s.Namespace + "/" + s.Name
	s = s.DeepCopy()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r := &admission.Request{Operation: admission.Create, Kind: core.Service, Served: core.Service.Served[0], Object: s, Namespace: s.Namespace, Name: s.Name, DryRun: end == "dry run"}
	c.shelf.mu.Lock()
	if old, ok := c.services[key]; ok {
		r.Operation, r.Old = admission.Update, old
	}
	c.shelf.mu.Unlock()
	err := c.Mutate(ctx, r)
	if err == nil && end == "" {
		c.shelf.mu.Lock()
		c.services[key] = s
		c.shelf.mu.Unlock()
	}
	if end == "client gone" {
		cancel()
	}
	if end != "unfinished" {
		r.Finish()
	}
	return s, err
}

func mustPut(t *testing.T, c *cluster, s *corev1.Service) *corev1.Service {
	t.Helper()
	out, err := c.put(s, "")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("\n got %v\nwant %s", err, want)
	}
}

func TestAddresses(t *testing.T) {
	c := newCluster(t, "10.43.0.0/16", [2]int32{})
	a := mustPut(t, c, service("a", "ClusterIP", "", 0))
	if ip := netip.MustParseAddr(a.Spec.ClusterIP); !c.cfg.CIDR.Contains(ip) || a.Spec.ClusterIPs[0] != a.Spec.ClusterIP || ip.Less(netip.MustParseAddr("10.43.1.0")) {
		t.Errorf("got %s %v, want one of the upper band", a.Spec.ClusterIP, a.Spec.ClusterIPs)
	}
	if a.Spec.Ports[0].NodePort != 0 || *a.Spec.IPFamilyPolicy != corev1.IPFamilyPolicySingleStack || len(a.Spec.IPFamilies) != 1 || a.Spec.IPFamilies[0] != corev1.IPv4Protocol {
		t.Errorf("got %+v", a.Spec)
	}
	mustPut(t, c, service("b", "ClusterIP", "10.43.0.9", 0))
	_, err := c.put(service("c", "ClusterIP", "10.43.0.9", 0), "")
	wantError(t, err, `Service "c" is invalid: spec.clusterIPs: Invalid value: ["10.43.0.9"]: failed to allocate IP 10.43.0.9: provided IP is already allocated`)
	if !apierrors.IsInvalid(err) {
		t.Errorf("%v is no 422", err)
	}
	for _, ip := range []string{"10.44.0.1", "10.43.0.0", "10.43.255.255"} {
		_, err = c.put(service("c", "ClusterIP", ip, 0), "")
		wantError(t, err, "failed to allocate IP "+ip+": the provided IP ("+ip+") is not in the valid range. The range of valid IPs is 10.43.0.0/16")
	}
	for name, s := range map[string]*corev1.Service{"headless": service("h", "ClusterIP", "None", 0), "external name": service("e", "ExternalName", "")} {
		out := mustPut(t, c, s)
		if ip := out.Spec.ClusterIP; ip != "" && ip != "None" {
			t.Errorf("%s got %s", name, ip)
		}
	}
	// The same manifest again, without the address: nothing changes.
	if again := mustPut(t, c, service("a", "ClusterIP", "", 0)); again.Spec.ClusterIP != a.Spec.ClusterIP {
		t.Errorf("the address changed from %s to %s", a.Spec.ClusterIP, again.Spec.ClusterIP)
	}
	// Changing to ExternalName lets go of the address, at once for others.
	mustPut(t, c, service("b", "ExternalName", ""))
	mustPut(t, c, service("c", "ClusterIP", "10.43.0.9", 0))
	delete(c.services, "default/c")
	mustPut(t, c, service("d", "ClusterIP", "10.43.0.9", 0))
}

func TestNodePorts(t *testing.T) {
	c := newCluster(t, "10.43.0.0/16", [2]int32{})
	a := mustPut(t, c, service("a", "NodePort", "", 0, 30080))
	if p := a.Spec.Ports[0].NodePort; p < 30086 || p > 32767 || a.Spec.Ports[1].NodePort != 30080 {
		t.Errorf("got ports %+v", a.Spec.Ports)
	}
	_, err := c.put(service("b", "NodePort", "", 0, 30080), "")
	wantError(t, err, `spec.ports[1].nodePort: Invalid value: 30080: provided port is already allocated`)
	_, err = c.put(service("b", "NodePort", "", 80), "")
	wantError(t, err, `spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767`)
	// The failed ones hold nothing: not the address, not the first port.
	if len(c.reserved) != 0 {
		t.Errorf("left reserved: %v", c.reserved)
	}
	if again := mustPut(t, c, service("a", "NodePort", "", 0, 0)); again.Spec.Ports[0].NodePort != a.Spec.Ports[0].NodePort || again.Spec.Ports[1].NodePort != 30080 {
		t.Errorf("the ports changed to %+v", again.Spec.Ports)
	}
	if plain := mustPut(t, c, service("a", "ClusterIP", "", 0, 0)); plain.Spec.Ports[1].NodePort != 0 || plain.Spec.ClusterIP != a.Spec.ClusterIP {
		t.Errorf("got %+v", plain.Spec)
	}
	mustPut(t, c, service("b", "NodePort", "", 30080))
}

func TestFullRanges(t *testing.T) {
	c := newCluster(t, "10.43.0.0/29", [2]int32{30000, 30001})
	for i := range 6 {
		mustPut(t, c, service(fmt.Sprint("s", i), "ClusterIP", "", 0))
	}
	_, err := c.put(service("more", "ClusterIP", "", 0), "")
	wantError(t, err, "range is full")
	delete(c.services, "default/s3")
	mustPut(t, c, service("more", "ClusterIP", "", 0))
	delete(c.services, "default/s4")
	mustPut(t, c, service("n", "NodePort", "", 0, 0))
	delete(c.services, "default/s5")
	_, err = c.put(service("m", "NodePort", "", 0), "")
	wantError(t, err, "failed to allocate a nodePort: range is full")
	if !apierrors.IsInternalError(err) {
		t.Errorf("%v is no 500", err)
	}
}

func TestReservations(t *testing.T) {
	c := newCluster(t, "10.43.0.0/16", [2]int32{})
	first := service("a", "ClusterIP", "10.43.0.9", 0)
	other := service("b", "ClusterIP", "10.43.0.9", 0)

	if _, err := c.put(first, "unfinished"); err != nil {
		t.Fatal(err)
	}
	_, err := c.put(other, "dry run")
	wantError(t, err, "provided IP is already allocated")
	// Another try for the same Service may have it, and does not let go of what the first one still holds.
	if _, err := c.put(first, "failed"); err != nil {
		t.Fatal(err)
	}
	_, err = c.put(other, "")
	wantError(t, err, "provided IP is already allocated")

	c = newCluster(t, "10.43.0.0/16", [2]int32{})
	for _, end := range []string{"failed", "dry run"} {
		if _, err := c.put(first, end); err != nil {
			t.Fatal(err)
		}
		if len(c.reserved) != 0 {
			t.Errorf("after %s: left reserved: %v", end, c.reserved)
		}
	}
	if _, err := c.put(first, "client gone"); err != nil {
		t.Fatal(err)
	}
	_, err = c.put(other, "")
	wantError(t, err, "provided IP is already allocated")
	c.now = c.now.Add(unknownOutcome + time.Second)
	mustPut(t, c, other)
}

func TestNoDoubleAllocationUnderConcurrency(t *testing.T) {
	c := newCluster(t, "10.43.0.0/24", [2]int32{30000, 30299})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 30 {
				name := fmt.Sprintf("s-%d-%d", w, i)
				end := ""
				if i%5 == 4 {
					end = "failed"
				}
				if _, err := c.put(service(name, "NodePort", "", 0), end); err != nil {
					t.Error(err)
				}
				if i%3 == 2 {
					c.shelf.mu.Lock()
					delete(c.services, "default/"+name)
					c.shelf.mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	seen := map[any]string{}
	for name, obj := range c.services {
		s := obj.(*corev1.Service)
		for _, what := range []any{s.Spec.ClusterIP, s.Spec.Ports[0].NodePort} {
			if other, ok := seen[what]; ok {
				t.Errorf("%v is held by %s and %s", what, other, name)
			}
			seen[what] = name
		}
	}
	if len(c.reserved) != 0 || len(seen) < 100 {
		t.Errorf("%d seen, reserved %v", len(seen), c.reserved)
	}
}

func TestIPv6Range(t *testing.T) {
	c := newCluster(t, "fd00:43::/112", [2]int32{})
	s := mustPut(t, c, service("a", "ClusterIP", "", 0))
	if !c.cfg.CIDR.Contains(netip.MustParseAddr(s.Spec.ClusterIP)) || s.Spec.IPFamilies[0] != corev1.IPv6Protocol {
		t.Errorf("got %+v", s.Spec)
	}
}

func BenchmarkCreateAmong1000(b *testing.B) {
	c := &cluster{shelf: &shelf{services: map[string]kinds.Object{}}, now: time.Now()}
	c.Allocator, _ = New(Config{CIDR: netip.MustParsePrefix("10.43.0.0/16"), Reader: c.shelf})
	for i := range 1000 {
		if _, err := c.put(service(fmt.Sprint("s", i), "ClusterIP", "", 0), ""); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := c.put(service("x", "ClusterIP", "", 0), "failed"); err != nil {
			b.Fatal(err)
		}
	}
}
