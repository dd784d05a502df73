package cri

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/containerd/log"
	"github.com/sirupsen/logrus"
)

// captureLogs sends containerd's warnings and errors to logger. containerd logs through a global logrus logger and one in the context; both are caught.
// What containerd calls fatal (it would end the process) is given to fail instead.
func captureLogs(ctx context.Context, logger *slog.Logger, fail func(error)) context.Context {
	std := logrus.StandardLogger()
	std.SetLevel(logrus.WarnLevel)
	std.SetOutput(io.Discard)
	std.ExitFunc = func(int) {}
	if current.Swap(logger) == nil {
		std.AddHook(logHook{logger: current.Load})
	}

	own := logrus.New()
	own.SetLevel(logrus.WarnLevel)
	own.SetOutput(io.Discard)
	own.ExitFunc = func(int) {}
	own.AddHook(logHook{logger: func() *slog.Logger { return logger }, fail: fail})
	return log.WithLogger(ctx, logrus.NewEntry(own))
}

// harmless are warnings and errors of containerd that happen in normal operation.
func harmless(message string) bool {
	switch {
	case message == "copy shim log", // every end of a pod
		strings.HasPrefix(message, "failed to load cni during init"), // the pod network is set up later
		strings.HasPrefix(message, "failed check for fsverity support"):
		return true
	}
	return false
}

// current receives containerd's global log: there is one for the process, so there is one here.
var current atomic.Pointer[slog.Logger]

// logHook translates logrus entries.
type logHook struct {
	logger func() *slog.Logger
	fail   func(error)
}

func (logHook) Levels() []logrus.Level { return logrus.AllLevels }

func (h logHook) Fire(e *logrus.Entry) error {
	level := slog.LevelDebug
	switch e.Level {
	case logrus.PanicLevel, logrus.FatalLevel, logrus.ErrorLevel:
		level = slog.LevelError
	case logrus.WarnLevel:
		level = slog.LevelWarn
	case logrus.InfoLevel:
		level = slog.LevelInfo
	}
	if harmless(e.Message) {
		level = slog.LevelDebug
	}
	attrs := make([]slog.Attr, 0, len(e.Data)+1)
	attrs = append(attrs, slog.String("detail", e.Message))
	for k, v := range e.Data {
		attrs = append(attrs, slog.Any(k, v))
	}
	h.logger().LogAttrs(context.Background(), level, "containerd", attrs...)
	if e.Level == logrus.FatalLevel && h.fail != nil {
		err, ok := e.Data[logrus.ErrorKey].(error)
		if !ok {
			err = errors.New("containerd gave up")
		}
		h.fail(fmt.Errorf("%s: %w", e.Message, err))
	}
	return nil
}
