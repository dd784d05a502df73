package all_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/tenet-run/tenet/apiserver"
	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/controllers"
	"github.com/tenet-run/tenet/kinds"
	allkinds "github.com/tenet-run/tenet/kinds/all"
	"github.com/tenet-run/tenet/kinds/apps"
	"github.com/tenet-run/tenet/kinds/core"
	"github.com/tenet-run/tenet/store/embedded"
)

// BenchmarkDeployment scales a Deployment from nothing to many pods and deletes its namespace, over the API server in process; no kubelet.
func BenchmarkDeployment(b *testing.B) {
	for _, replicas := range []int32{100, 2000} {
		b.Run(fmt.Sprint(replicas), func(b *testing.B) {
			quiet := slog.New(slog.DiscardHandler)
			st, err := embedded.Open(b.Context(), embedded.Options{Dir: "data", FS: vfs.NewMem(), Logger: quiet})
			if err != nil {
				b.Fatal(err)
			}
			server, err := apiserver.New(apiserver.Config{
				Store: st, Kinds: allkinds.Kinds(), Admission: []admission.Plugin{admission.NamespaceLifecycle(apiserver.NewReader(st))}, Logger: quiet,
			})
			if err != nil {
				b.Fatal(err)
			}
			api := client.InProcess(server, &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup}})
			cache := client.InProcessCache(server)
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan error)
			go func() {
				done <- controllers.Run(ctx, controllers.Deps{Client: api, Cache: cache, Logger: quiet}, listed(kinds.NewSet(allkinds.Kinds()...))...)
			}()
			var scale, empty time.Duration
			for i := range b.N {
				name := fmt.Sprintf("n%d", i)
				if _, err := api.Create(ctx, core.Namespace, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
					b.Fatal(err)
				}
				pods, namespaces := make(chan int, 2*replicas), make(chan struct{}, 1)
				follow, stop := context.WithCancel(ctx)
				go cache.Follow(follow, core.Pod, name, client.FollowOptions{}, func(c client.Change) {
					if c.Old == nil {
						pods <- 1
					}
				}, nil)
				go cache.Follow(follow, core.Namespace, "", client.FollowOptions{Fields: map[string]string{"metadata.name": name}}, func(c client.Change) {
					if c.New == nil {
						namespaces <- struct{}{}
					}
				}, nil)
				start := time.Now()
				if _, err := api.Create(ctx, apps.Deployment, deployment(name, "web", replicas), metav1.CreateOptions{}); err != nil {
					b.Fatal(err)
				}
				for range replicas {
					<-pods
				}
				scale += time.Since(start)
				start = time.Now()
				if err := api.Delete(ctx, core.Namespace, "", name, metav1.DeleteOptions{}); err != nil {
					b.Fatal(err)
				}
				<-namespaces
				empty += time.Since(start)
				stop()
			}
			b.ReportMetric(float64(scale.Microseconds())/float64(b.N)/float64(replicas), "us/pod-made")
			b.ReportMetric(float64(empty.Microseconds())/float64(b.N)/float64(replicas), "us/pod-deleted")
			cancel()
			if err := <-done; err != nil {
				b.Error(err)
			}
			server.Close()
			st.Close()
		})
	}
}
