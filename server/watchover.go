package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/tenet-run/tenet/store"
)

// checkEvery is how often memory is compared with the disk: reading everything once an hour costs nothing that could be measured.
const checkEvery = time.Hour

// watchOver compares the store's memory with its disk now and then, until ctx ends. What differs is repaired and reported.
func watchOver(ctx context.Context, s store.Store, log *slog.Logger) {
	t := time.NewTicker(checkEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		differences, err := s.Check(ctx)
		if err != nil && ctx.Err() == nil {
			log.Error("store could not be checked", "error", err)
		}
		for _, d := range differences {
			log.Error("store: memory and disk differed; memory was repaired", "difference", d)
		}
	}
}

// library takes what libraries log at any level for what it mostly is: details, such as a client that went away.
type library struct{ slog.Handler }

func (l library) Enabled(ctx context.Context, _ slog.Level) bool {
	return l.Handler.Enabled(ctx, slog.LevelDebug)
}

func (l library) Handle(ctx context.Context, r slog.Record) error {
	r.Level = slog.LevelDebug
	return l.Handler.Handle(ctx, r)
}

func (l library) WithAttrs(a []slog.Attr) slog.Handler { return library{l.Handler.WithAttrs(a)} }
func (l library) WithGroup(name string) slog.Handler   { return library{l.Handler.WithGroup(name)} }
