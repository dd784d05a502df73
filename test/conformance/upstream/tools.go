//go:build tools

// Package upstream pins Kubernetes' end-to-end suite and its runner, which package conformance builds. Nothing here is compiled into Tenet.
package upstream

import (
	_ "github.com/onsi/ginkgo/v2/ginkgo"
	_ "k8s.io/kubernetes/test/e2e"
)
