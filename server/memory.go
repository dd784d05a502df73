package server

import (
	"os"
	"runtime/debug"
	"time"
)

// gcPercent lets the heap grow to three times what is live before it is collected. The live heap is small, so this costs some 10 MB, and takes about 7 % off the CPU
// of a write, which is mostly short-lived memory. GOGC in the environment overrides it.
const gcPercent = 200

// settleAfter is when what starting left behind is given back to the system.
const settleAfter = 5 * time.Second

func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	time.AfterFunc(settleAfter, debug.FreeOSMemory)
}
