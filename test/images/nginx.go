package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/tenet-run/tenet/internal/images"
)

const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// nginx is Debian's nginx set up as the image nginx:stable is: same command, user, files, port, logs and stop signal.
func nginx(p *packages) (images.Archive, error) {
	r, err := p.rootfs("nginx", "nginx-common", "busybox-static", "bash")
	if err != nil {
		return images.Archive{}, err
	}
	if err := addApplets(r, p.dir); err != nil {
		return images.Archive{}, err
	}
	for name := range r.entries { // Debian's own site layout
		if strings.HasPrefix(name, "etc/nginx/sites-") || strings.HasPrefix(name, "etc/nginx/modules-") || strings.HasPrefix(name, "etc/init.d") ||
			strings.HasPrefix(name, "etc/logrotate.d") || strings.HasPrefix(name, "usr/lib/systemd") {
			delete(r.entries, name)
		}
	}
	const uid = 101
	accounts(r, fmt.Sprintf("nginx:x:%d:%d:nginx user:/nonexistent:/bin/false\n", uid, uid), fmt.Sprintf("nginx:x:%d:\n", uid))
	r.text("etc/nginx/nginx.conf", `user  nginx;
worker_processes  auto;

error_log  /var/log/nginx/error.log notice;
pid        /run/nginx.pid;

events {
    worker_connections  1024;
}

http {
    include       /etc/nginx/mime.types;
    default_type  application/octet-stream;

    log_format  main  '$remote_addr - $remote_user [$time_local] "$request" '
                      '$status $body_bytes_sent "$http_referer" '
                      '"$http_user_agent" "$http_x_forwarded_for"';

    access_log  /var/log/nginx/access.log  main;

    sendfile           on;
    keepalive_timeout  65;

    include /etc/nginx/conf.d/*.conf;
}
`)
	r.text("etc/nginx/conf.d/default.conf", `server {
    listen       80;
    server_name  localhost;

    location / {
        root   /usr/share/nginx/html;
        index  index.html index.htm;
    }

    error_page   500 502 503 504  /50x.html;
    location = /50x.html {
        root   /usr/share/nginx/html;
    }
}
`)
	r.text("usr/share/nginx/html/index.html", page("Welcome to nginx!", "If you see this page, the nginx web server is successfully installed and\nworking. Further configuration is required."))
	r.text("usr/share/nginx/html/50x.html", page("An error occurred.", "Sorry, the page you are looking for is currently unavailable.<br/>\nPlease try again later."))
	r.file("docker-entrypoint.sh", 0o755, []byte(`#!/bin/sh
set -e
for f in /docker-entrypoint.d/*.sh; do
	[ -x "$f" ] && "$f"
done
exec "$@"
`))
	r.dir("docker-entrypoint.d", 0o755)
	r.dir("var/log/nginx", 0o755)
	r.link("var/log/nginx/access.log", "/dev/stdout")
	r.link("var/log/nginx/error.log", "/dev/stderr")
	for _, dir := range []string{"var/lib/nginx", "var/cache/nginx"} {
		r.dir(dir, 0o755)
		r.owner(dir, uid)
	}
	layer, err := r.layer()
	if err != nil {
		return images.Archive{}, err
	}
	version, _, _ := strings.Cut(p.version["nginx"], "-")
	return images.Archive{
		Name:  "docker.io/library/nginx:stable",
		Layer: layer,
		Config: ocispec.ImageConfig{
			Env:          []string{searchPath, "NGINX_VERSION=" + version},
			Entrypoint:   []string{"/docker-entrypoint.sh"},
			Cmd:          []string{"nginx", "-g", "daemon off;"},
			ExposedPorts: map[string]struct{}{"80/tcp": {}},
			StopSignal:   "SIGQUIT",
			Labels:       map[string]string{"tenet.run/built-from": "debian nginx " + p.version["nginx"]},
		},
	}, nil
}

func page(title, text string) string {
	return `<!DOCTYPE html>
<html>
<head>
<title>` + title + `</title>
<style>
html { color-scheme: light dark; }
body { width: 35em; margin: 0 auto;
font-family: Tahoma, Verdana, Arial, sans-serif; }
</style>
</head>
<body>
<h1>` + title + `</h1>
<p>` + text + `</p>
</body>
</html>
`
}

// busybox is Debian's static busybox with a link for each of its programs.
func busybox(p *packages) (images.Archive, error) {
	r, err := p.rootfs("busybox-static")
	if err != nil {
		return images.Archive{}, err
	}
	for name := range r.entries {
		if strings.HasPrefix(name, "usr/share/") {
			delete(r.entries, name)
		}
	}
	if err := addApplets(r, p.dir); err != nil {
		return images.Archive{}, err
	}
	accounts(r, "", "")
	layer, err := r.layer()
	if err != nil {
		return images.Archive{}, err
	}
	return images.Archive{
		Name:   "docker.io/library/busybox:stable",
		Layer:  layer,
		Config: ocispec.ImageConfig{Env: []string{searchPath}, Cmd: []string{"sh"}},
	}, nil
}

// addApplets links every program that busybox is to it, where no package brings the real one.
func addApplets(r *rootfs, dir string) error {
	const at = "usr/bin/busybox"
	program, ok := r.entries[at]
	if !ok {
		return fmt.Errorf("the package busybox-static has no %s", at)
	}
	tmp := filepath.Join(dir, "busybox")
	if err := os.WriteFile(tmp, program.data, 0o755); err != nil {
		return err
	}
	list, err := output(tmp, "--list")
	if err != nil {
		return err
	}
	for applet := range strings.FieldsSeq(list) {
		if _, ok := r.entries["usr/sbin/"+applet]; ok {
			continue
		}
		if _, ok := r.entries["usr/bin/"+applet]; !ok {
			r.link("usr/bin/"+applet, "busybox")
		}
	}
	return nil
}

// accounts writes the user database; users and groups are lines to add.
func accounts(r *rootfs, users, groups string) {
	r.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"+users+"nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n")
	r.text("etc/group", "root:x:0:\ndaemon:x:1:\ntty:x:5:\n"+groups+"nogroup:x:65534:\n")
	r.text("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
}
