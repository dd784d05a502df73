package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tenet-run/tenet/client"
	"github.com/tenet-run/tenet/kinds/apps"
	"github.com/tenet-run/tenet/kinds/core"
)

func statusCommand() *cobra.Command {
	var p place
	c := &cobra.Command{
		Use: "status", Short: "Say what runs on this machine and how it is", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			pid, err := p.running()
			if err != nil {
				return err
			}
			if pid == 0 {
				fmt.Fprintf(c.OutOrStdout(), "tenet does not run with data directory %s; start it with `tenet up`\n", p.data)
				return exitCode(3)
			}
			return p.status(c, pid)
		},
	}
	p.flags(c)
	return c
}

func (p *place) status(c *cobra.Command, pid int) error {
	ctx, cancel := context.WithTimeout(c.Context(), 10*time.Second)
	defer cancel()
	cfg, err := clientcmd.BuildConfigFromFlags("", p.kubeconfig())
	if err != nil {
		if errors.Is(err, os.ErrPermission) {
			return fmt.Errorf("%s is readable by root only: use `sudo tenet status`", p.kubeconfig())
		}
		return err
	}
	api, err := client.Remote(cfg)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintf(w, "process\tpid %d, %s\n", pid, memory(pid))
	fmt.Fprintf(w, "data\t%s\n", p.data)
	fmt.Fprintf(w, "api\t%s\n", cfg.Host)
	nodes, err := api.List(ctx, core.Node, "", metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("the process runs, but its API does not answer: %w", err)
	}
	for _, n := range client.All[*corev1.Node](nodes.Items) {
		fmt.Fprintf(w, "node\t%s: %s\n", n.Name, readiness(n))
	}
	pods, err := api.List(ctx, core.Pod, "", metav1.ListOptions{})
	if err != nil {
		return err
	}
	phases := map[corev1.PodPhase]int{}
	var trouble []string
	for _, pod := range client.All[*corev1.Pod](pods.Items) {
		phases[pod.Status.Phase]++
		if why := whyNotReady(pod); why != "" {
			trouble = append(trouble, fmt.Sprintf("pod %s/%s: %s", pod.Namespace, pod.Name, why))
		}
	}
	var parts []string
	for _, phase := range []corev1.PodPhase{corev1.PodRunning, corev1.PodPending, corev1.PodSucceeded, corev1.PodFailed, corev1.PodUnknown} {
		if phases[phase] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", phases[phase], strings.ToLower(string(phase))))
		}
	}
	if len(parts) == 0 {
		parts = []string{"none"}
	}
	fmt.Fprintf(w, "pods\t%s\n", strings.Join(parts, ", "))
	deployments, err := api.List(ctx, apps.Deployment, "", metav1.ListOptions{})
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "deployments\t%d\n", len(deployments.Items))
	for _, t := range trouble {
		fmt.Fprintf(w, "not converged\t%s\n", t)
	}
	return nil
}

// memory is the resident memory of a process, as text.
func memory(pid int) string {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return "memory unknown"
	}
	var rss, anon int
	for line := range strings.Lines(string(text)) {
		fmt.Sscanf(line, "VmRSS: %d kB", &rss)
		fmt.Sscanf(line, "RssAnon: %d kB", &anon)
	}
	return fmt.Sprintf("%d MB resident, %d MB of it anonymous", rss>>10, anon>>10)
}

func readiness(n *corev1.Node) string {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			if c.Status == corev1.ConditionTrue {
				return "Ready"
			}
			return fmt.Sprintf("not ready (%s: %s)", c.Reason, c.Message)
		}
	}
	return "not ready (it has not reported yet)"
}

// whyNotReady is the reason why a pod is not where it should be, or "".
func whyNotReady(pod *corev1.Pod) string {
	if pod.Status.Phase == corev1.PodSucceeded || pod.DeletionTimestamp != nil {
		return ""
	}
	for _, list := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for _, s := range list {
			if w := s.State.Waiting; w != nil && w.Reason != "" && w.Reason != "PodInitializing" && w.Reason != "ContainerCreating" {
				return strings.TrimSuffix(fmt.Sprintf("container %s: %s: %s", s.Name, w.Reason, w.Message), ": ")
			}
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return c.Message
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status != corev1.ConditionTrue && c.Message != "" {
			return c.Message
		}
	}
	return ""
}
