// Package all is the one list of the controllers. One that is not named here does not run.
package all

import (
	"net/netip"

	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/controllers/clusterroleaggregation"
	"github.com/tenet-run/tenet/controllers/cronjob"
	"github.com/tenet-run/tenet/controllers/daemonset"
	"github.com/tenet-run/tenet/controllers/deployment"
	"github.com/tenet-run/tenet/controllers/disruption"
	"github.com/tenet-run/tenet/controllers/endpointslice"
	"github.com/tenet-run/tenet/controllers/endpointslicemirroring"
	"github.com/tenet-run/tenet/controllers/garbage"
	"github.com/tenet-run/tenet/controllers/job"
	"github.com/tenet-run/tenet/controllers/namespace"
	"github.com/tenet-run/tenet/controllers/nodelifecycle"
	"github.com/tenet-run/tenet/controllers/persistentvolume"
	"github.com/tenet-run/tenet/controllers/replicaset"
	"github.com/tenet-run/tenet/controllers/resourcequota"
	"github.com/tenet-run/tenet/controllers/serviceaccount"
	"github.com/tenet-run/tenet/controllers/statefulset"
	"github.com/tenet-run/tenet/controllers/ttlafterfinished"
	"github.com/tenet-run/tenet/controllers/volumeprotection"
	"github.com/tenet-run/tenet/kinds"
	"github.com/tenet-run/tenet/kinds/core"
)

// Options is what the controllers need to know of the cluster.
type Options struct {
	// Kinds are all kinds that are served, custom ones included.
	Kinds *kinds.Set
	// RootCA is the certificate authority of the API server, PEM encoded; nil: kube-root-ca.crt is not published.
	RootCA []byte
	// PodCIDR is what nodes get their /24 of pod addresses from; the zero value: they get none.
	PodCIDR netip.Prefix
	// Nodes are further options of the node controllers; PodCIDR there is overwritten.
	Nodes nodelifecycle.Options
}

// Controllers returns all controllers.
func Controllers(o Options) []controllers.Controller {
	o.Nodes.PodCIDR = o.PodCIDR
	list := []controllers.Controller{
		deployment.New(),
		replicaset.New(),
		replicaset.Replication(),
		job.New(),
		ttlafterfinished.New(),
		cronjob.New(),
		endpointslice.New(),
		endpointslice.Endpoints(),
		endpointslicemirroring.New(),
		statefulset.New(),
		daemonset.New(),
		garbage.New(o.Kinds, core.Event),
		namespace.New(o.Kinds, core.Event),
		serviceaccount.New(),
		clusterroleaggregation.New(),
		disruption.New(o.Kinds),
		resourcequota.New(o.Kinds),
		persistentvolume.New(),
		volumeprotection.Claims(),
		volumeprotection.Volumes(),
	}
	if len(o.RootCA) > 0 {
		list = append(list, serviceaccount.RootCA(o.RootCA))
	}
	return append(list, nodelifecycle.New(o.Nodes)...)
}
