package all_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tenet-run/tenet/controllers/controllerstest"
	"github.com/tenet-run/tenet/kinds/apps"
	"github.com/tenet-run/tenet/kinds/core"
)

// TestQuotaInTheMiddleOfAScaleUp: over the API server, whose admission charges quotas, sets come as far as a quota lets them, say why they come no further, try
// again ever more seldom, and go on when there is room.
func TestQuotaInTheMiddleOfAScaleUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := overServer(t)
		defer c.close()
		c.start()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for _, name := range []string{"node-1", "node-2", "node-3"} {
			c.node(ctx, name)
		}
		c.must(ctx, core.Namespace, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}})
		c.must(ctx, core.ResourceQuota, &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "pods"}, Spec: corev1.ResourceQuotaSpec{
			Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("3")},
		}})
		time.Sleep(time.Second)
		set := statefulSet("web", 5, appsv1.ParallelPodManagement)
		set.Spec.VolumeClaimTemplates = nil
		c.must(ctx, apps.StatefulSet, set)
		time.Sleep(time.Minute)
		c.must(ctx, apps.DaemonSet, daemonSet("agent", 0, 1))
		time.Sleep(time.Hour)
		show := func() string {
			return controllerstest.PrintAll(c.cache, apps.StatefulSet, apps.DaemonSet, core.ResourceQuota)
		}
		expect(t, "full", show(), `statefulset web replicas=3/5 ready=3 available=3 current=3 of web-8598d98d5b
daemonset agent current=0/3 updated=0 ready=0 available=0
resourcequota pods pods=3/3
`)
		tries := c.events.Count("FailedCreate")
		if text := c.events.Take(); !strings.Contains(text, `forbidden: exceeded quota: pods, requested: pods=1, used: pods=3, limited: pods=3`) {
			t.Errorf("nothing says why:\n%s", text)
		}
		if tries > 60 {
			t.Errorf("%d tries in an hour: a hot loop", tries)
		}
		c.mergeAt(ctx, core.ResourceQuota, "default", "pods", `{"spec":{"hard":{"pods":"10"}}}`)
		time.Sleep(20 * time.Minute)
		expect(t, "with room", show(), `statefulset web replicas=5/5 ready=5 available=5 current=5 of web-8598d98d5b
daemonset agent current=3/3 updated=3 ready=3 available=3
resourcequota pods pods=8/10
`)
	})
}

func expect(t *testing.T, when, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\ngot:\n%s\nwant:\n%s", when, got, want)
	}
}
