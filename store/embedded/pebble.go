package embedded

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// pebbleOptions keep Pebble small, quiet and still: nothing ticks, so an idle store writes nothing and uses no CPU, and a synctest bubble that holds
// one can let its virtual time pass.
func (s *Store) pebbleOptions() *pebble.Options {
	o := &pebble.Options{
		FS:                          fencedFS{s.opts.FS, &s.fence},
		Lock:                        s.lock,
		FormatMajorVersion:          pebble.FormatTableFormatV6,
		CacheSize:                   1 << 20, // reads are served from our memory
		MemTableSize:                s.opts.memTable,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       40,
		MaxOpenFiles:                256,
		MaxManifestFileSize:         1 << 20,
		Logger:                      quietLogger{s},
		EventListener: &pebble.EventListener{
			BackgroundError: s.backgroundError,
		},
	}
	// Open reads everything in order, and hardly anything else reads: large blocks.
	for i := range o.Levels {
		o.Levels[i].BlockSize = 32 << 10
	}
	o.Experimental.FileCacheShards = 1
	// The default scheduler looks every 100 ms whether it may run more compactions at once. With a limit of one it need not: the end of
	// one compaction grants the next.
	o.Experimental.CompactionScheduler = pebble.NewConcurrencyLimitSchedulerWithNoPeriodicGrantingForTest()
	return o
}

// backgroundError is called when a flush or compaction failed, for other reasons than the disk's. Pebble would try again at once, for ever.
func (s *Store) backgroundError(err error) {
	s.fail(err)
	select {}
}

// quietLogger passes on errors only.
type quietLogger struct{ s *Store }

func (quietLogger) Infof(string, ...any) {}

func (l quietLogger) Errorf(format string, args ...any) {
	l.s.log.Warn("Pebble reports an error", "err", fmt.Sprintf(format, args...))
}

// Fatalf must not return: Pebble's state is no longer right. The store has failed; the goroutine stays where it is.
func (l quietLogger) Fatalf(format string, args ...any) {
	l.s.fail(fmt.Errorf(format, args...))
	select {}
}
