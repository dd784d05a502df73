package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// packages downloads Debian packages, without installing them.
type packages struct {
	dir     string
	updated bool
	version map[string]string
}

// library matches the dependencies that a program needs to run, as opposed to those that its installation needs.
var library = regexp.MustCompile(`^(lib[a-z0-9.+-]+|zlib1g)$`)

// rootfs is the content of the packages and of all libraries that they depend on.
func (p *packages) rootfs(names ...string) (*rootfs, error) {
	r := newRootfs()
	p.version = map[string]string{}
	for todo := names; len(todo) > 0; todo = todo[1:] {
		name := todo[0]
		if _, done := p.version[name]; done {
			continue
		}
		deb, err := p.download(name)
		if err != nil {
			return nil, err
		}
		fields, err := output("dpkg-deb", "-f", deb, "Version", "Depends", "Pre-Depends")
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(fields) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			if key == "Version" {
				p.version[name] = value
				continue
			}
			for dep := range strings.SplitSeq(value, ",") {
				dep, _, _ = strings.Cut(dep, "|")                    // the first alternative
				dep, _, _ = strings.Cut(strings.TrimSpace(dep), " ") // without its version
				dep, _, _ = strings.Cut(dep, ":")
				if library.MatchString(dep) && !strings.HasPrefix(dep, "libnginx-mod") {
					todo = append(todo, dep)
				}
			}
		}
		files, err := exec.Command("dpkg-deb", "--fsys-tarfile", deb).Output()
		if err != nil {
			return nil, fmt.Errorf("read package %s: %w", name, err)
		}
		if err := r.add(files); err != nil {
			return nil, fmt.Errorf("read package %s: %w", name, err)
		}
	}
	return r, nil
}

func (p *packages) download(name string) (string, error) {
	err := p.apt("download", name)
	if err != nil && !p.updated && os.Geteuid() == 0 {
		p.updated = true // the lists may be missing or old
		if err := p.apt("update"); err != nil {
			return "", err
		}
		err = p.apt("download", name)
	}
	if err != nil {
		return "", err
	}
	found, _ := filepath.Glob(filepath.Join(p.dir, name+"_*.deb"))
	if len(found) != 1 {
		return "", fmt.Errorf("apt-get download %s left %v", name, found)
	}
	return found[0], nil
}

func (p *packages) apt(args ...string) error {
	cmd := exec.Command("apt-get", append([]string{"-qq", "-o", "APT::Sandbox::User=root"}, args...)...)
	cmd.Dir = p.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

func output(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return string(out), nil
}

// rootfs is a file system in memory, with everything below /usr as in today's Debian.
type rootfs struct{ entries map[string]entry }

type entry struct {
	tar.Header
	data []byte
}

func newRootfs() *rootfs {
	r := &rootfs{entries: map[string]entry{}}
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		r.dir("usr/"+dir, 0o755)
		r.link(dir, "usr/"+dir)
	}
	for dir, mode := range map[string]int64{"dev": 0o755, "etc": 0o755, "home": 0o755, "proc": 0o755, "root": 0o700, "run": 0o755, "sys": 0o755, "tmp": 0o1777, "var/log": 0o755, "var/tmp": 0o1777} {
		r.dir(dir, mode)
	}
	return r
}

// unneeded is what packages bring for people, not for programs.
var unneeded = []string{"usr/share/doc/", "usr/share/man/", "usr/share/locale/", "usr/share/lintian/", "usr/share/info/", "usr/share/bug/", "usr/share/menu/", "usr/share/initramfs-tools/"}

func inUsr(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		if strings.HasPrefix(name, dir+"/") {
			return "usr/" + name
		}
	}
	return name
}

// add takes over the files of a package.
func (r *rootfs) add(archive []byte) error {
	for t := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		name := inUsr(h.Name)
		if slices.ContainsFunc(unneeded, func(prefix string) bool { return strings.HasPrefix(name+"/", prefix) }) {
			continue
		}
		switch h.Typeflag {
		case tar.TypeDir:
			if _, exists := r.entries[name]; name != "" && !exists {
				r.dir(name, h.Mode)
			}
		case tar.TypeReg:
			data, err := io.ReadAll(t)
			if err != nil {
				return err
			}
			r.file(name, h.Mode, data)
		case tar.TypeSymlink:
			r.link(name, h.Linkname)
		case tar.TypeLink:
			r.entries[name] = entry{Header: tar.Header{Typeflag: tar.TypeLink, Linkname: inUsr(h.Linkname), Mode: h.Mode}}
		}
	}
}

func (r *rootfs) dir(name string, mode int64) {
	for parent := path.Dir(name); parent != "."; parent = path.Dir(parent) {
		if _, ok := r.entries[parent]; !ok {
			r.entries[parent] = entry{Header: tar.Header{Typeflag: tar.TypeDir, Mode: 0o755}}
		}
	}
	r.entries[name] = entry{Header: tar.Header{Typeflag: tar.TypeDir, Mode: mode}}
}

func (r *rootfs) file(name string, mode int64, data []byte) {
	r.parents(name)
	r.entries[name] = entry{Header: tar.Header{Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(data))}, data: data}
}

func (r *rootfs) text(name, content string) { r.file(name, 0o644, []byte(content)) }

func (r *rootfs) link(name, target string) {
	r.parents(name)
	r.entries[name] = entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}}
}

func (r *rootfs) parents(name string) {
	if parent := path.Dir(name); parent != "." {
		if _, ok := r.entries[parent]; !ok {
			r.dir(parent, 0o755)
		}
	}
}

func (r *rootfs) owner(name string, uid int) {
	e := r.entries[name]
	e.Uid, e.Gid = uid, uid
	r.entries[name] = e
}

// layer is the file system as a tar: parents first, hard links after their targets.
func (r *rootfs) layer() ([]byte, error) {
	var names []string
	for name := range r.entries {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if la, lb := r.entries[a].Typeflag == tar.TypeLink, r.entries[b].Typeflag == tar.TypeLink; la != lb {
			if la {
				return 1
			}
			return -1
		}
		return strings.Compare(a, b)
	})
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range names {
		e := r.entries[name]
		e.Name = name
		if e.Typeflag == tar.TypeDir {
			e.Name += "/"
		}
		if err := w.WriteHeader(&e.Header); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
