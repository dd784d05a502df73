package isolate

import (
	"os/exec"
	"testing"
)

// Uplink gives the test's network namespace what a machine has: an interface with address 10.123.0.1 and a default route. The route leads nowhere.
func Uplink(t testing.TB) {
	t.Helper()
	for _, c := range []string{"ip link set lo up", "ip link add v0 type veth peer name v1", "ip addr add 10.123.0.1/24 dev v0",
		"ip link set v0 up", "ip link set v1 up", "ip route add default via 10.123.0.254"} {
		if out, err := exec.Command("sh", "-c", c).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", c, err, out)
		}
	}
}

// UnmountBelow takes away every mount at and below a folder, then the folder.
func UnmountBelow(dir string) ([]byte, error) {
	return exec.Command("sh", "-c", `awk '{print $5}' /proc/self/mountinfo | grep "^$0" | sort -r | xargs -r -n1 umount -l; rm -rf "$0"`, dir).CombinedOutput()
}
