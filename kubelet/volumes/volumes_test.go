package volumes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tenet-run/tenet/kubelet/downward"
)

func contents(t *testing.T, dir string) string {
	t.Helper()
	var out []string
	var walk func(rel string)
	walk = func(rel string) {
		entries, err := os.ReadDir(filepath.Join(dir, rel))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			p := filepath.Join(rel, e.Name())
			if strings.HasPrefix(e.Name(), "..") {
				continue
			}
			info, err := os.Stat(filepath.Join(dir, p)) // through links, as a container sees it
			if err != nil {
				t.Fatal(err)
			}
			if info.IsDir() {
				walk(p)
				continue
			}
			b, _ := os.ReadFile(filepath.Join(dir, p))
			out = append(out, fmt.Sprintf("%s=%s(%o)", p, b, info.Mode().Perm()))
		}
	}
	walk("")
	sort.Strings(out)
	return strings.Join(out, " ")
}

func f(s string) File { return File{Data: []byte(s), Mode: 0o644} }

func TestWriteShowsExactlyThePayload(t *testing.T) {
	dir := t.TempDir()
	now := time.Unix(0, 0)
	step := func(payload map[string]File, changed bool, want string) {
		t.Helper()
		got, err := Write(dir, payload, nil, now)
		if err != nil {
			t.Fatal(err)
		}
		if got != changed {
			t.Errorf("changed: got %t, want %t", got, changed)
		}
		if c := contents(t, dir); c != want {
			t.Errorf("got %q, want %q", c, want)
		}
		stamps, _ := filepath.Glob(dir + "/..20*")
		stamps2, _ := filepath.Glob(dir + "/..19*")
		if n := len(stamps) + len(stamps2); n != 1 {
			t.Errorf("%d generations are left, want 1", n)
		}
	}
	step(map[string]File{"a": f("1"), "d/b": {Data: []byte("2"), Mode: 0o400}}, true, "a=1(644) d/b=2(400)")
	step(map[string]File{"a": f("1"), "d/b": {Data: []byte("2"), Mode: 0o400}}, false, "a=1(644) d/b=2(400)")
	step(map[string]File{"a": f("1"), "d/c": f("3")}, true, "a=1(644) d/c=3(644)")
	step(map[string]File{"e": f("")}, true, "e=(644)")
	step(map[string]File{}, true, "")
	for _, bad := range []string{"/abs", "../up", "a/../../b", "..data", ""} {
		if _, err := Write(dir, map[string]File{bad: f("x")}, nil, now); err == nil {
			t.Errorf("path %q was taken", bad)
		}
	}
}

// A reader never sees two files of different payloads, whenever it looks.
func TestWriteIsAtomic(t *testing.T) {
	dir := t.TempDir()
	write := func(n int) {
		s := fmt.Sprint(n)
		if _, err := Write(dir, map[string]File{"a": f(s), "b": f(s)}, nil, time.Now()); err != nil {
			t.Error(err)
		}
	}
	write(0)
	stop, done := make(chan bool), make(chan int)
	go func() {
		reads := 0
		for {
			select {
			case <-stop:
				done <- reads
				return
			default:
			}
			gen, err := os.Readlink(dir + "/..data")
			if err != nil {
				t.Error(err)
				continue
			}
			a, e1 := os.ReadFile(filepath.Join(dir, gen, "a"))
			b, e2 := os.ReadFile(filepath.Join(dir, gen, "b"))
			if e1 == nil && e2 == nil && string(a) != string(b) {
				t.Errorf("a=%s b=%s", a, b)
			}
			reads++
		}
	}()
	for i := range 200 {
		write(i)
	}
	close(stop)
	if n := <-done; n == 0 {
		t.Error("nothing was read")
	}
}

type noMounts struct{ binds []string }

func (*noMounts) tmpfs(string, int64) error      { return nil }
func (*noMounts) hugepages(string, string) error { return nil }
func (n *noMounts) bind(from, to string) error {
	at, err := os.Readlink(from)
	n.binds = append(n.binds, at)
	return err
}

var errNone = errors.New("not found")

func newSet(t *testing.T, now *time.Time) (*Set, *noMounts, map[string]*corev1.ConfigMap, *int) {
	cms := map[string]*corev1.ConfigMap{}
	tokens := 0
	src := &Sources{
		ConfigMap: func(ns, name string) (*corev1.ConfigMap, error) {
			if cm := cms[name]; cm != nil {
				return cm, nil
			}
			return nil, errNone
		},
		Secret:   func(ns, name string) (*corev1.Secret, error) { return nil, errNone },
		NotFound: func(err error) bool { return errors.Is(err, errNone) },
		Token: func(ctx context.Context, pod *corev1.Pod, audience string, seconds int64) (string, time.Time, error) {
			tokens++
			return fmt.Sprintf("%s-%d", audience, tokens), now.Add(time.Duration(seconds) * time.Second), nil
		},
	}
	s := New(filepath.Join(t.TempDir(), "pod"), src, func() time.Time { return *now })
	m := &noMounts{}
	s.mount = m
	return s, m, cms, &tokens
}

func TestMissingSourcesSayWhatIsMissing(t *testing.T) {
	now := time.Unix(1000, 0)
	s, _, cms, _ := newSet(t, &now)
	cms["cm"] = &corev1.ConfigMap{Data: map[string]string{"k": "v"}}
	yes := true
	for _, c := range []struct {
		v    corev1.VolumeSource
		want string
	}{
		{corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "no"}}}, `MountVolume.SetUp failed for volume "v" : configmap "no" not found`},
		{corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}, Items: []corev1.KeyToPath{{Key: "x", Path: "x"}}}}, `MountVolume.SetUp failed for volume "v" : configmap references non-existent config key: x`},
		{corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}, Optional: &yes, Items: []corev1.KeyToPath{{Key: "x", Path: "x"}}}}, ""},
		{corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "no"}}, `MountVolume.SetUp failed for volume "v" : secret "no" not found`},
		{corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "no", Optional: &yes}}, ""},
		{corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{}}, `MountVolume.SetUp failed for volume "v" : persistent volume claims are not supported by this node yet`},
	} {
		pod := &corev1.Pod{Spec: corev1.PodSpec{Volumes: []corev1.Volume{{Name: "v", VolumeSource: c.v}}}}
		got := ""
		if err := s.Mount(context.Background(), pod, downward.Facts{}); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestTokensAreReplacedAfterFourFifthsOfTheirLife(t *testing.T) {
	now := time.Unix(1000, 0)
	s, _, _, tokens := newSet(t, &now)
	hour := int64(3600)
	pod := &corev1.Pod{Spec: corev1.PodSpec{Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", Audience: "x", ExpirationSeconds: &hour}}},
	}}}}}}
	if err := s.Mount(context.Background(), pod, downward.Facts{}); err != nil {
		t.Fatal(err)
	}
	dir, _ := s.Path("v")
	if got := contents(t, dir); got != "token=x-1(644)" {
		t.Errorf("got %s", got)
	}
	if got, want := s.NextRefresh(), now.Add(2880*time.Second); !got.Equal(want) {
		t.Errorf("refresh at %v, want %v", got, want)
	}
	now = now.Add(2879 * time.Second)
	s.Refresh(context.Background(), pod, downward.Facts{})
	if *tokens != 1 {
		t.Errorf("%d tokens before the time", *tokens)
	}
	now = now.Add(time.Second)
	if err := s.Refresh(context.Background(), pod, downward.Facts{}); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, dir); got != "token=x-2(644)" {
		t.Errorf("got %s", got)
	}
}

// A link in a volume may lead elsewhere inside of it, never out.
func TestSubPathStaysInside(t *testing.T) {
	now := time.Unix(1000, 0)
	s, m, _, _ := newSet(t, &now)
	vol, secret := t.TempDir(), t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(secret+"/shadow", []byte("x"), 0o600))
	must(os.Mkdir(vol+"/real", 0o755))
	must(os.Symlink("real", vol+"/inside"))
	must(os.Symlink(secret, vol+"/out"))
	must(os.Symlink("../../../../../../../../../.."+secret, vol+"/up"))
	s.paths["v"] = vol
	for sub, want := range map[string]string{
		"real": vol + "/real", "inside": vol + "/real", "made/here": vol + "/made/here",
		"out": "", "out/shadow": "", "up/shadow": "", "../x": "", "/abs": "",
	} {
		m.binds = nil
		_, err := s.ContainerMounts(&corev1.Container{Name: "c", VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: "/m", SubPath: sub}}}, nil)
		if (err == nil) != (want != "") || err == nil && m.binds[0] != want {
			t.Errorf("subPath %s: bound %v, error %v, want %q", sub, m.binds, err, want)
		}
	}
	if _, err := os.Stat(secret + "/shadow"); errors.Is(err, fs.ErrNotExist) {
		t.Error("what is outside was touched")
	}
}

func TestHostPathTypes(t *testing.T) {
	dir := t.TempDir()
	os.WriteFile(dir+"/file", nil, 0o600)
	for _, c := range []struct {
		path string
		kind corev1.HostPathType
		want string
	}{
		{"", corev1.HostPathDirectory, ""},
		{"/file", corev1.HostPathFile, ""},
		{"/none", corev1.HostPathUnset, ""},
		{"/file", corev1.HostPathDirectory, "hostPath type check failed: " + dir + "/file is not a directory"},
		{"/none", corev1.HostPathFile, "hostPath type check failed: " + dir + "/none is not a file"},
		{"/file", corev1.HostPathSocket, "hostPath type check failed: " + dir + "/file is not a socket file"},
		{"/file", corev1.HostPathBlockDev, "hostPath type check failed: " + dir + "/file is not a block device"},
		{"/file", corev1.HostPathCharDev, "hostPath type check failed: " + dir + "/file is not a character device"},
		{"/new/dir", corev1.HostPathDirectoryOrCreate, ""},
		{"/new/file", corev1.HostPathFileOrCreate, ""},
		{"/new/dir", corev1.HostPathFileOrCreate, "hostPath type check failed: " + dir + "/new/dir is not a file"},
	} {
		got := ""
		if err := hostPath(&corev1.HostPathVolumeSource{Path: dir + c.path, Type: &c.kind}); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s as %s: got %q, want %q", c.path, c.kind, got, c.want)
		}
	}
	if err := hostPath(&corev1.HostPathVolumeSource{Path: "/dev/null", Type: func() *corev1.HostPathType { k := corev1.HostPathCharDev; return &k }()}); err != nil {
		t.Error(err)
	}
}
