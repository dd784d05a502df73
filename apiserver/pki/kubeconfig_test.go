package pki

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
)

const others = `# mine, by hand
apiVersion: v1
kind: Config
clusters:
- name: zeta
  cluster: {server: "https://zeta:6443", extra-field: keep}
- cluster:
    server: https://alpha:6443
  name: alpha
contexts:
- context:
    cluster: zeta
    user: zed
  name: zeta # the big one
users:
- name: zed
  user:
    token: abc
`

func TestMergeKeepsOtherEntries(t *testing.T) {
	p := mustEnsure(t, t.TempDir(), nil, time.Now())
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(others+"current-context: zeta\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	current, err := p.MergeKubeconfig(path, "tenet", "https://127.0.0.1:6443")
	if err != nil {
		t.Fatal(err)
	}
	if current {
		t.Error("the current context was taken over")
	}
	data, _ := os.ReadFile(path)
	for _, want := range []string{"# mine, by hand", "extra-field: keep", "# the big one", "token: abc"} {
		if !strings.Contains(string(data), want) {
			t.Errorf("lost %q in:\n%s", want, data)
		}
	}
	if z, a, te := strings.Index(string(data), "name: zeta"), strings.Index(string(data), "name: alpha"), strings.Index(string(data), "name: tenet"); z > a || a > te {
		t.Errorf("clusters changed order:\n%s", data)
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o640 {
		t.Errorf("mode is now %o", st.Mode().Perm())
	}
	cfg, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Clusters) != 3 || len(cfg.AuthInfos) != 2 || len(cfg.Contexts) != 2 || cfg.CurrentContext != "zeta" || cfg.AuthInfos["zed"].Token != "abc" {
		t.Errorf("got %+v", cfg)
	}
	if string(cfg.Clusters["tenet"].CertificateAuthorityData) != string(p.CAPEM()) {
		t.Error("wrong authority in the cluster entry")
	}

	// Again: nothing is written. With another server: only that changes, and the user's namespace stays.
	st1, _ := os.Stat(path)
	if _, err := p.MergeKubeconfig(path, "tenet", "https://127.0.0.1:6443"); err != nil {
		t.Fatal(err)
	}
	if st2, _ := os.Stat(path); !os.SameFile(st1, st2) {
		t.Error("a merge that changes nothing wrote the file")
	}
	cfg.Contexts["tenet"].Namespace = "dev"
	if err := clientcmd.WriteToFile(*cfg, path); err != nil {
		t.Fatal(err)
	}
	if _, err := p.MergeKubeconfig(path, "tenet", "https://10.0.0.1:7443"); err != nil {
		t.Fatal(err)
	}
	cfg, _ = clientcmd.LoadFromFile(path)
	if cfg.Clusters["tenet"].Server != "https://10.0.0.1:7443" || cfg.Contexts["tenet"].Namespace != "dev" || len(cfg.Clusters) != 3 {
		t.Errorf("after the second merge: %+v", cfg)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestMergeTakesTheCurrentContextOnlyWhenThereIsNone(t *testing.T) {
	p := mustEnsure(t, t.TempDir(), nil, time.Now())
	for name, tc := range map[string]struct {
		content string
		want    bool
	}{
		"no file":      {"", true},
		"empty lists":  {"apiVersion: v1\nkind: Config\nclusters: []\nusers: null\ncontexts: []\ncurrent-context: \"\"\n", true},
		"comment only": {"# nothing yet\n", true},
		"none named":   {others, true},
		"ours already": {others + "current-context: tenet\n", true},
		"another":      {others + "current-context: alpha\n", false},
		"JSON":         {`{"kind":"Config","apiVersion":"v1","clusters":[],"contexts":[],"users":[],"current-context":"x"}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), ".kube", "config")
			if tc.content != "" {
				os.MkdirAll(filepath.Dir(path), 0o755)
				os.WriteFile(path, []byte(tc.content), 0o600)
			}
			got, err := p.MergeKubeconfig(path, "tenet", "https://127.0.0.1:6443")
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := clientcmd.LoadFromFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != tc.want || (cfg.CurrentContext == "tenet") != tc.want || cfg.Contexts["tenet"] == nil {
				data, _ := os.ReadFile(path)
				t.Errorf("got current %v, want %v:\n%s", got, tc.want, data)
			}
		})
	}
}

func TestMergeLeavesWhatItCannotRead(t *testing.T) {
	p := mustEnsure(t, t.TempDir(), nil, time.Now())
	for name, content := range map[string]string{
		"not YAML":     "a: [1\n",
		"a list":       "- a\n",
		"another kind": "kind: Pod\n",
		"odd clusters": "kind: Config\nclusters: {a: b}\n",
	} {
		path := filepath.Join(t.TempDir(), "config")
		os.WriteFile(path, []byte(content), 0o600)
		if _, err := p.MergeKubeconfig(path, "tenet", "https://x"); err == nil || !strings.Contains(err.Error(), "left as it is") {
			t.Errorf("%s: got error %v", name, err)
		}
		if data, _ := os.ReadFile(path); string(data) != content {
			t.Errorf("%s: the file was changed", name)
		}
	}
	path := filepath.Join(t.TempDir(), "config")
	os.WriteFile(path+".lock", nil, 0o600)
	if _, err := p.MergeKubeconfig(path, "tenet", "https://x"); err == nil || !strings.Contains(err.Error(), "being written by another program") {
		t.Errorf("locked: got error %v", err)
	}
}

func TestMergeFollowsLinksAndKeepsTheOwner(t *testing.T) {
	p := mustEnsure(t, t.TempDir(), nil, time.Now())
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real"), filepath.Join(dir, "link")
	os.WriteFile(real, []byte(others), 0o600)
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	root := os.Geteuid() == 0
	if root {
		os.Chown(real, 1234, 1235)
		os.Chown(dir, 1234, 1235)
	}
	if _, err := p.MergeKubeconfig(link, "tenet", "https://x"); err != nil {
		t.Fatal(err)
	}
	if st, _ := os.Lstat(link); st.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced by a file")
	}
	fresh := filepath.Join(dir, "new", "config")
	if _, err := p.MergeKubeconfig(fresh, "tenet", "https://x"); err != nil {
		t.Fatal(err)
	}
	if !root {
		return
	}
	for _, path := range []string{real, filepath.Dir(fresh), fresh} {
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if s := st.Sys().(*syscall.Stat_t); s.Uid != 1234 || s.Gid != 1235 {
			t.Errorf("%s belongs to %d:%d, want 1234:1235", path, s.Uid, s.Gid)
		}
	}
}

func TestWriteKubeconfig(t *testing.T) {
	p := mustEnsure(t, t.TempDir(), nil, time.Now())
	path := filepath.Join(t.TempDir(), "data", "admin.kubeconfig")
	if err := p.WriteKubeconfig(path, "https://127.0.0.1:6443", "tenet"); err != nil {
		t.Fatal(err)
	}
	st, _ := os.Stat(path)
	if st.Mode().Perm() != 0o600 {
		t.Errorf("mode is %o", st.Mode().Perm())
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Host != "https://127.0.0.1:6443" || len(cfg.CertData) == 0 || len(cfg.CAData) == 0 {
		t.Errorf("got %v", cfg)
	}
}
