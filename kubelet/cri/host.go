package cri

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/plugins/snapshots/overlay/overlayutils"
	"github.com/containerd/platforms"
	"golang.org/x/sys/unix"
)

// detect looks at this machine for what containerd has to be told.
func detect(o EmbeddedOptions) hostFacts {
	caps := effectiveCaps()
	return hostFacts{
		overlay:      overlayutils.Supported(o.Root) == nil,
		canLowerOOM:  caps&(1<<unix.CAP_SYS_RESOURCE) != 0,
		canMAC:       caps&(1<<unix.CAP_MAC_ADMIN) != 0,
		shimSocketOK: len(filepath.Join(o.State, "s")) <= 42, // 107 bytes of a unix socket's path, less a slash and the 64 digits of a shim's name
	}
}

func platform() string { return platforms.Format(platforms.DefaultSpec()) }

// effectiveCaps is the effective capability set of this process, as bits.
func effectiveCaps() uint64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "CapEff:"); ok {
			caps, _ := strconv.ParseUint(strings.TrimSpace(v), 16, 64)
			return caps
		}
	}
	return 0
}
