package scheduler

import (
	"math"
	"strings"

	corev1 "k8s.io/api/core/v1"
	v1helper "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/klog/v2"
)

const maxScore = 100

// scorer ranks the nodes that passed the filters: a number per node, then scaled to 0..maxScore unless it is already.
type scorer struct {
	name   string
	weight int64
	// score fills out[i] for nodes[i].
	score func(s *Snapshot, c *candidate, nodes []*nodeState, out []int64)
}

// scorers with the weights of upstream's default profile.
var scorers = []scorer{
	{"TaintToleration", 3, scoreTaints},
	{"NodeAffinity", 2, scoreAffinity},
	{"NodeResourcesFit", 1, scoreLeastAllocated},
	{"NodeResourcesBalancedAllocation", 1, scoreBalance},
	{"PodTopologySpread", 2, scoreSpread},
	{"ImageLocality", 1, scoreImages},
}

// scoreTaints prefers nodes with fewer PreferNoSchedule taints that the pod does not tolerate.
func scoreTaints(_ *Snapshot, c *candidate, nodes []*nodeState, out []int64) {
	for i, n := range nodes {
		for j := range n.node.Spec.Taints {
			t := &n.node.Spec.Taints[j]
			if t.Effect == corev1.TaintEffectPreferNoSchedule && !v1helper.TolerationsTolerateTaint(klog.Logger{}, c.pod.Spec.Tolerations, t, false) {
				out[i]++
			}
		}
	}
	normalize(out, true)
}

// scoreAffinity adds up the weights of the preferred node affinity terms that match.
func scoreAffinity(_ *Snapshot, c *candidate, nodes []*nodeState, out []int64) {
	if c.preferred == nil {
		return
	}
	for i, n := range nodes {
		out[i] = c.preferred.Score(n.node)
	}
	normalize(out, false)
}

// scoreLeastAllocated prefers nodes with the most CPU and memory left.
func scoreLeastAllocated(_ *Snapshot, c *candidate, nodes []*nodeState, out []int64) {
	for i, n := range nodes {
		var sum, count int64
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			total := n.allocatable[name]
			if total == 0 {
				continue
			}
			count++
			if used := n.ranked[name] + c.demand.ranked[name]; used <= total {
				sum += (total - used) * maxScore / total
			}
		}
		if count > 0 {
			out[i] = sum / count
		}
	}
}

// scoreBalance prefers nodes whose CPU and memory would be used to the same degree.
func scoreBalance(_ *Snapshot, c *candidate, nodes []*nodeState, out []int64) {
	for i, n := range nodes {
		cpu := fraction(n, c, corev1.ResourceCPU)
		memory := fraction(n, c, corev1.ResourceMemory)
		out[i] = int64((1 - math.Abs(cpu-memory)/2) * maxScore)
	}
}

func fraction(n *nodeState, c *candidate, name corev1.ResourceName) float64 {
	total := n.allocatable[name]
	if total == 0 {
		return 0
	}
	return min(1, float64(n.requested[name]+c.demand.requests[name])/float64(total))
}

// scoreSpread prefers nodes, and zones, that hold fewer pods of the same controller: upstream's default constraints (zone maxSkew 5, hostname maxSkew 3),
// which stand in for a pod that has none of its own.
func scoreSpread(s *Snapshot, c *candidate, nodes []*nodeState, out []int64) {
	owner := controllerOf(c.pod)
	if owner == "" {
		return
	}
	perZone := map[string]int64{}
	perNode := make([]int64, len(nodes))
	for i, n := range nodes {
		for _, p := range n.pods {
			if p.owner == owner && !p.deleting {
				perNode[i]++
			}
		}
		perZone[n.node.Labels[corev1.LabelTopologyZone]] += perNode[i]
	}
	// As upstream weighs topologies: by the logarithm of how many there are.
	zoneWeight, nodeWeight := math.Log(float64(len(perZone)+2)), math.Log(float64(len(nodes)+2))
	for i, n := range nodes {
		v := float64(perNode[i])*nodeWeight + 2
		if zone := n.node.Labels[corev1.LabelTopologyZone]; zone != "" {
			v += float64(perZone[zone])*zoneWeight + 4
		}
		out[i] = int64(math.Round(v))
	}
	normalizeSpread(out)
}

// Bounds of scoreImages: below the first, images do not matter; above the second they do not matter more.
const (
	minImageBytes = 23 << 20
	maxImageBytes = 1000 << 20
)

// scoreImages prefers nodes that have the pod's images, less so when few nodes have them.
func scoreImages(s *Snapshot, c *candidate, nodes []*nodeState, out []int64) {
	containers := int64(len(c.pod.Spec.Containers) + len(c.pod.Spec.InitContainers))
	if containers == 0 {
		return
	}
	spread := map[string]int{}
	for _, image := range imagesOf(c.pod) {
		for _, n := range nodes {
			if _, has := n.images[image]; has {
				spread[image]++
			}
		}
	}
	for i, n := range nodes {
		var sum int64
		for _, image := range imagesOf(c.pod) {
			if size, has := n.images[image]; has {
				sum += int64(float64(size) * float64(spread[image]) / float64(len(nodes)))
			}
		}
		low, high := int64(minImageBytes), int64(maxImageBytes)*containers
		out[i] = maxScore * (min(max(sum, low), high) - low) / (high - low)
	}
}

// imagesOf lists the pod's images as nodes name them: with a tag.
func imagesOf(pod *corev1.Pod) []string {
	var out []string
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, c := range list {
			name := c.Image
			if strings.LastIndex(name, ":") <= strings.LastIndex(name, "/") {
				name += ":latest"
			}
			out = append(out, name)
		}
	}
	return out
}

// normalize scales to 0..maxScore by the largest; reversed, the largest becomes 0.
func normalize(scores []int64, reversed bool) {
	var top int64
	for _, v := range scores {
		top = max(top, v)
	}
	for i, v := range scores {
		if top > 0 {
			v = v * maxScore / top
		}
		if reversed {
			v = maxScore - v
		}
		scores[i] = v
	}
}

// normalizeSpread turns counts into scores: the fewest gets the most.
func normalizeSpread(scores []int64) {
	low, high := int64(math.MaxInt64), int64(0)
	for _, v := range scores {
		low, high = min(low, v), max(high, v)
	}
	for i, v := range scores {
		if high == 0 {
			scores[i] = maxScore
		} else {
			scores[i] = maxScore * (high + low - v) / high
		}
	}
}
