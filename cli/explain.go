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
	case errors.Is(err, syscall.ENOSPC):
		return text + ": the disk is full; make room and start again, nothing that was acknowledged is lost"
	case errors.Is(err, syscall.EACCES) && !strings.Contains(text, "root"):
		return text + ": not allowed; run as root, or use a --data-dir of your own with `tenet server`"
	}
	return text
}
