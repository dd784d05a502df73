// Command operator is an example: it makes every Website real. It is written with controller-runtime, like most operators, and knows nothing of Tenet.
// Run it beside `tenet up` with your kubeconfig, or in a pod (config/deploy.yaml).
package main

import (
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/tenet-run/tenet/examples/operator/api"
)

func main() {
	ctrl.SetLogger(zap.New())
	err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "operator:", err)
		os.Exit(1)
	}
}

func run() error {
	cfg, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	m, err := newManager(cfg, ctrl.Options{})
	if err != nil {
		return err
	}
	return m.Start(ctrl.SetupSignalHandler())
}

func newManager(cfg *rest.Config, o ctrl.Options) (ctrl.Manager, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, api.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	o.Scheme, o.Metrics = scheme, server.Options{BindAddress: "0"}
	m, err := ctrl.NewManager(cfg, o)
	if err != nil {
		return nil, err
	}
	return m, (&reconciler{Client: m.GetClient(), scheme: scheme}).setup(m)
}
