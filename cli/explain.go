package cli

import (
	"errors"
	"net"
	"strings"
	"syscall"
)

// explain adds to an error what to do about it, where that is known.
func explain(err error) string {
	text := err.Error()
	var op *net.OpError
	switch {
	case errors.As(err, &op) && errors.Is(err, syscall.EADDRINUSE):
		return text + ": something else listens there; stop it, or choose another port with --port"
	case errors.As(err, &op) && errors.Is(err, syscall.EADDRNOTAVAIL):
		return text + ": this machine has no such address; choose another with --bind-address"
	case strings.HasPrefix(text, "unknown command"), strings.HasPrefix(text, "unknown flag"), strings.HasPrefix(text, "unknown shorthand flag"),
		strings.HasPrefix(text, "invalid argument"), strings.HasPrefix(text, "flag needs an argument"), strings.HasPrefix(text, "requires at least"):
		return text + "; see it with --help"
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENOENT) && strings.HasPrefix(text, "mkdir "), errors.Is(err, syscall.EROFS):
		return text + ": the data directory cannot be made there; choose another with --data-dir"
	case errors.Is(err, syscall.ENOSPC):
		return text + ": the disk is full; make room and start again, nothing that was acknowledged is lost"
	case errors.Is(err, syscall.EACCES) && !strings.Contains(text, "root"):
		return text + ": not allowed; run as root, or use a --data-dir of your own with `tenet server`"
	}
	return text
}
