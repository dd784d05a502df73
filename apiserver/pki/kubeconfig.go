package pki

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"go.yaml.in/yaml/v3"
)

// WriteKubeconfig writes the administrator's kubeconfig, 0600: one cluster, one user, one context, all called context. The file is left alone
// when it says so already.
func (p *PKI) WriteKubeconfig(path, server, context string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("pki: write kubeconfig: %w", err)
	}
	doc := emptyKubeconfig()
	p.mergeInto(doc.Content[0], context, server)
	data, err := encodeYAML(doc)
	if err != nil {
		return fmt.Errorf("pki: encode kubeconfig: %w", err)
	}
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	return writeFile(path, data)
}

// MergeKubeconfig adds cluster, user and context, all called context, to a user's kubeconfig, or brings them up to date. All else in the file stays
// as it is: entries, their order, unknown fields and comments; and so do its owner and mode, also behind a symbolic link. A new file is 0600 and
// belongs to whom its folder belongs to. The context becomes the current one only when the file has none; current says whether it now is.
func (p *PKI) MergeKubeconfig(path, context, server string) (current bool, err error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	mode, uid, gid := fs.FileMode(0o600), -1, -1
	dir := filepath.Dir(path)
	if uid, gid, err = makeDirs(dir); err != nil {
		return false, fmt.Errorf("pki: merge kubeconfig: %w", err)
	}
	unlock, err := lockKubeconfig(path)
	if err != nil {
		return false, err
	}
	defer unlock()
	old, err := os.ReadFile(path)
	switch {
	case err == nil:
		st, err := os.Stat(path)
		if err != nil {
			return false, fmt.Errorf("pki: merge kubeconfig: %w", err)
		}
		mode = st.Mode().Perm()
		uid, gid = owner(st)
	case !errors.Is(err, fs.ErrNotExist):
		return false, fmt.Errorf("pki: merge kubeconfig: %w", err)
	}
	doc := emptyKubeconfig()
	if len(bytes.TrimSpace(old)) > 0 {
		doc = &yaml.Node{}
		if err := yaml.Unmarshal(old, doc); err != nil {
			return false, fmt.Errorf("pki: merge kubeconfig: %s is not YAML; left as it is: %w", path, err)
		}
		if doc.Kind == 0 {
			doc = emptyKubeconfig() // nothing but comments
		}
		if err := checkKubeconfig(doc.Content[0]); err != nil {
			return false, fmt.Errorf("pki: merge kubeconfig: %s is not a kubeconfig; left as it is: %w", path, err)
		}
	}
	changed, current := p.mergeInto(doc.Content[0], context, server)
	if !changed && old != nil {
		return current, nil
	}
	data, err := encodeYAML(doc)
	if err != nil {
		return false, fmt.Errorf("pki: encode kubeconfig %s: %w", path, err)
	}
	return current, replaceFile(path, data, mode, func(f *os.File) error {
		if os.Geteuid() != 0 || uid < 0 {
			return nil
		}
		return f.Chown(uid, gid)
	})
}

// makeDirs makes the folder of a kubeconfig and says to whom it belongs; what it makes belongs to the owner of the nearest folder there was, so that a
// start by sudo leaves nothing of root's in somebody's home.
func makeDirs(dir string) (uid, gid int, err error) {
	st, err := os.Stat(dir)
	if err == nil {
		uid, gid = owner(st)
		return uid, gid, nil
	}
	if !errors.Is(err, fs.ErrNotExist) || filepath.Dir(dir) == dir {
		return -1, -1, err
	}
	if uid, gid, err = makeDirs(filepath.Dir(dir)); err != nil {
		return -1, -1, err
	}
	if err := os.Mkdir(dir, 0o750); err != nil {
		return -1, -1, err
	}
	if os.Geteuid() == 0 && uid >= 0 {
		return uid, gid, os.Chown(dir, uid, gid)
	}
	return uid, gid, nil
}

func owner(st fs.FileInfo) (uid, gid int) {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return int(s.Uid), int(s.Gid)
	}
	return -1, -1
}

// lockKubeconfig takes the lock that kubectl takes before it writes the file.
func lockKubeconfig(path string) (unlock func(), err error) {
	name := path + ".lock"
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL, 0)
	if err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("pki: merge kubeconfig: %s is being written by another program; if none is running, remove %s", path, name)
		}
		return nil, fmt.Errorf("pki: merge kubeconfig: %w", err)
	}
	f.Close()
	return func() { os.Remove(name) }, nil
}

func emptyKubeconfig() *yaml.Node {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte("apiVersion: v1\nkind: Config\npreferences: {}\n"), &doc); err != nil {
		panic(err)
	}
	return &doc
}

// checkKubeconfig refuses what merging would have to destroy.
func checkKubeconfig(root *yaml.Node) error {
	if root.Kind != yaml.MappingNode {
		return errors.New("it is not a mapping")
	}
	if kind := mapValue(root, "kind"); kind != nil && kind.Value != "Config" {
		return fmt.Errorf("its kind is %q", kind.Value)
	}
	for _, list := range []string{"clusters", "users", "contexts"} {
		if v := mapValue(root, list); v != nil && v.Kind != yaml.SequenceNode && v.Tag != "!!null" {
			return fmt.Errorf("%s is not a list", list)
		}
	}
	return nil
}

// mergeInto sets the three entries, and the current context when there is none.
func (p *PKI) mergeInto(root *yaml.Node, name, server string) (changed, current bool) {
	cert, key := p.Admin()
	b64 := base64.StdEncoding.EncodeToString
	changed = setNamed(root, "clusters", "cluster", name, [][2]string{{"certificate-authority-data", b64(p.caPEM)}, {"server", server}},
		"certificate-authority", "insecure-skip-tls-verify", "tls-server-name", "proxy-url")
	changed = setNamed(root, "users", "user", name, [][2]string{{"client-certificate-data", b64(cert)}, {"client-key-data", b64(key)}},
		"client-certificate", "client-key", "token", "tokenFile", "username", "password", "exec", "auth-provider") || changed
	// A namespace that the user has chosen for the context stays.
	changed = setNamed(root, "contexts", "context", name, [][2]string{{"cluster", name}, {"user", name}}) || changed
	cur := mapValue(root, "current-context")
	if cur == nil || cur.Value == "" {
		setMap(root, "current-context", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name})
		return true, true
	}
	return changed, cur.Value == name
}

// setNamed brings the entry of list with the given name to hold the fields, without those in drop; other fields of it stay.
func setNamed(root *yaml.Node, list, inner, name string, fields [][2]string, drop ...string) (changed bool) {
	seq := mapValue(root, list)
	if seq == nil || seq.Kind != yaml.SequenceNode {
		seq = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		setMap(root, list, seq)
	}
	if len(seq.Content) == 0 {
		seq.Style = 0 // "[]" must not turn into a flow list
	}
	var entry *yaml.Node
	for _, e := range seq.Content {
		if n := mapValue(e, "name"); n != nil && n.Value == name {
			entry = e
			break
		}
	}
	if entry == nil {
		entry = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		setMap(entry, inner, &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"})
		setMap(entry, "name", scalar(name))
		seq.Content = append(seq.Content, entry)
		changed = true
	}
	body := mapValue(entry, inner)
	if body == nil || body.Kind != yaml.MappingNode {
		body = &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		setMap(entry, inner, body)
		changed = true
	}
	for _, d := range drop {
		changed = dropKey(body, d) || changed
	}
	for _, f := range fields {
		if v := mapValue(body, f[0]); v == nil || v.Value != f[1] {
			setMap(body, f[0], scalar(f[1]))
			changed = true
		}
	}
	return changed
}

func scalar(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

func mapValue(m *yaml.Node, key string) *yaml.Node {
	if m.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return m.Content[i+1]
		}
	}
	return nil
}

func setMap(m *yaml.Node, key string, v *yaml.Node) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			m.Content[i+1] = v
			return
		}
	}
	m.Content = append(m.Content, scalar(key), v)
}

func dropKey(m *yaml.Node, key string) bool {
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			m.Content = append(m.Content[:i:i], m.Content[i+2:]...)
			return true
		}
	}
	return false
}

func encodeYAML(doc *yaml.Node) ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	e.CompactSeqIndent()
	if err := e.Encode(doc); err != nil {
		return nil, err
	}
	err := e.Close()
	return b.Bytes(), err
}
