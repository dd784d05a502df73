// Package images makes sure that the image of a container is on this machine: pull policies, credentials, backoff, and the events that tell.
package images

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/tenet-run/tenet/kubelet/cri"
	"github.com/tenet-run/tenet/kubelet/plan"
)

// Limits of the backoff after failed pulls.
const (
	first = 10 * time.Second
	most  = 5 * time.Minute
	reset = 2 * most
	// shown is how long ErrImagePull stands in the status before it becomes ImagePullBackOff.
	shown = 2 * time.Second
)

// Image is an image that is here.
type Image struct {
	Ref  string // its ID
	UID  *int64
	User string
}

// Puller ensures images. It may be used by many goroutines.
type Puller struct {
	Runtime cri.Images
	// Event tells about a container of a pod.
	Event func(pod *corev1.Pod, c *corev1.Container, eventType, reason, message string)
	// slots limits how many pulls run at once; nil: no limit.
	slots chan struct{}

	mu      sync.Mutex
	backoff map[string]*backoff
}

type backoff struct {
	delay time.Duration
	at    time.Time // of the last failure
	cause string
}

// New makes a puller that pulls at most parallel images at once; 0: no limit.
func New(rt cri.Images, parallel int, event func(*corev1.Pod, *corev1.Container, string, string, string)) *Puller {
	p := &Puller{Runtime: rt, Event: event, backoff: map[string]*backoff{}}
	if parallel > 0 {
		p.slots = make(chan struct{}, parallel)
	}
	return p
}

// Normal adds the default tag to an image name that has neither tag nor digest. The name is otherwise kept as it is.
func Normal(image string) (string, error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", fmt.Errorf("couldn't parse image name %q: %v", image, err)
	}
	if reference.IsNameOnly(named) {
		return image + ":latest", nil
	}
	return image, nil
}

// Ensure finds or pulls the image of a container. On failure the reason is one of upstream's (ErrImagePull, ImagePullBackOff, ErrImageNeverPull,
// InvalidImageName, ImageInspectError), with the cause in the message and the time when to try again.
func (p *Puller) Ensure(ctx context.Context, pod *corev1.Pod, c *corev1.Container, secrets []*corev1.Secret, box *runtimeapi.PodSandboxConfig) (Image, *plan.Failure) {
	fail := func(reason, message string, retry time.Time) (Image, *plan.Failure) {
		p.Event(pod, c, corev1.EventTypeWarning, "Failed", "Error: "+reason)
		return Image{}, &plan.Failure{Reason: reason, Message: message, Retry: retry}
	}
	name, err := Normal(c.Image)
	if err != nil {
		m := fmt.Sprintf("Failed to apply default image tag %q: %v", c.Image, err)
		p.Event(pod, c, corev1.EventTypeWarning, "InspectFailed", m)
		return fail("InvalidImageName", m, time.Now().Add(most))
	}
	if c.ImagePullPolicy != corev1.PullAlways {
		img, found, err := p.inspect(ctx, name)
		switch {
		case err != nil:
			m := fmt.Sprintf("Failed to inspect image %q: %v", name, cri.Message(err))
			p.Event(pod, c, corev1.EventTypeWarning, "InspectFailed", m)
			return fail("ImageInspectError", m, time.Now().Add(first))
		case found:
			p.Event(pod, c, corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Container image %q already present on machine and can be accessed by the pod", c.Image))
			return img, nil
		case c.ImagePullPolicy == corev1.PullNever:
			m := fmt.Sprintf("Container image %q is not present with pull policy of Never", c.Image)
			p.Event(pod, c, corev1.EventTypeWarning, "ErrImageNeverPull", m)
			return fail("ErrImageNeverPull", m, time.Now().Add(first))
		}
	}

	key := string(pod.UID) + "_" + c.Image
	if until, cause, wait := p.waiting(key); wait {
		m := fmt.Sprintf("Back-off pulling image %q", c.Image)
		p.Event(pod, c, corev1.EventTypeNormal, "BackOff", m)
		return fail("ImagePullBackOff", m+": "+cause, until)
	}
	p.Event(pod, c, corev1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", c.Image))
	begun := time.Now()
	if p.slots != nil {
		select {
		case p.slots <- struct{}{}:
			defer func() { <-p.slots }()
		case <-ctx.Done():
			return Image{}, &plan.Failure{}
		}
	}
	pulling := time.Now()
	ref, err := p.pull(ctx, name, secrets, pod, box)
	if err != nil {
		if ctx.Err() != nil {
			return Image{}, &plan.Failure{} // the pod has ended; nobody asks
		}
		text := cri.Message(err)
		p.Event(pod, c, corev1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %v", c.Image, text))
		reason, message := cause(c.Image, text)
		p.failed(key, reason+": "+message)
		return fail(reason, message, time.Now().Add(shown))
	}
	p.Forget(key)
	img, found, err := p.inspect(ctx, ref)
	if err != nil || !found {
		img, found, err = p.inspect(ctx, name)
	}
	if err != nil || !found {
		m := fmt.Sprintf("Failed to inspect image %q: %v", name, cri.Message(err))
		p.Event(pod, c, corev1.EventTypeWarning, "InspectFailed", m)
		return fail("ImageInspectError", m, time.Now().Add(first))
	}
	p.Event(pod, c, corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Successfully pulled image %q in %v (%v including waiting). Image size: %v bytes.",
		c.Image, time.Since(pulling).Truncate(time.Millisecond), time.Since(begun).Truncate(time.Millisecond), p.size(ctx, img.Ref)))
	return img, nil
}

// cause turns errors that CRI names into reasons of their own.
func cause(image, text string) (reason, message string) {
	for name, what := range map[string]string{"RegistryUnavailable": "the registry is unavailable", "SignatureValidationFailed": "the signature validation failed"} {
		if rest, ok := strings.CutPrefix(text, name); ok {
			return name, fmt.Sprintf("image pull failed for %s because %s%s", image, what, rest)
		}
	}
	return "ErrImagePull", text
}

func (p *Puller) inspect(ctx context.Context, name string) (Image, bool, error) {
	r, err := p.Runtime.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: name}})
	if err != nil || r.Image == nil {
		return Image{}, false, err
	}
	img := Image{Ref: r.Image.Id, User: r.Image.Username}
	if r.Image.Uid != nil {
		uid := r.Image.Uid.Value
		img.UID = &uid
	} else if img.User == "" {
		img.UID = new(int64) // an image that says nothing runs as root
	}
	return img, true, nil
}

func (p *Puller) size(ctx context.Context, ref string) uint64 {
	r, err := p.Runtime.ImageStatus(ctx, &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: ref}})
	if err != nil || r.Image == nil {
		return 0
	}
	return r.Image.Size
}

// pull tries the credentials in turn, or none when there are none.
func (p *Puller) pull(ctx context.Context, name string, secrets []*corev1.Secret, pod *corev1.Pod, box *runtimeapi.PodSandboxConfig) (string, error) {
	creds := Credentials(secrets, name)
	if len(creds) == 0 {
		creds = []*runtimeapi.AuthConfig{nil}
	}
	var last error
	for _, auth := range creds {
		r, err := p.Runtime.PullImage(ctx, &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: name, Annotations: pod.Annotations}, Auth: auth, SandboxConfig: box})
		if err == nil {
			return r.ImageRef, nil
		}
		last = err
	}
	return "", last
}

func (p *Puller) waiting(key string) (until time.Time, cause string, wait bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.backoff[key]
	if b == nil {
		return
	}
	until = b.at.Add(b.delay)
	return until, b.cause, time.Now().Before(until)
}

func (p *Puller) failed(key, cause string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	b := p.backoff[key]
	if b == nil || now.Sub(b.at) > reset {
		b = &backoff{}
		p.backoff[key] = b
	}
	b.delay, b.at, b.cause = min(max(2*b.delay, first), most), now, cause
}

// Forget ends the backoff of a key, or of all images of a pod when the key is its UID and "_".
func (p *Puller) Forget(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.backoff, key)
	if strings.HasSuffix(key, "_") {
		for k := range p.backoff {
			if strings.HasPrefix(k, key) {
				delete(p.backoff, k)
			}
		}
	}
}
