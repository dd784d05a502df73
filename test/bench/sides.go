package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"golang.org/x/net/http2"
)

// api is a running API server: how to reach it, and its processes.
type api struct {
	url   string
	token string
	cert  *tls.Certificate
	procs []*os.Process
	ready time.Duration // from the start of the API server's process to /readyz
	stop  func()
}

type side struct {
	name  string
	start func() (*api, error)
}

// client makes a client with a connection of its own.
func (a *api) client() *http.Client {
	cfg := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}} // loopback, and a server that this program started
	if a.cert != nil {
		cfg.Certificates = []tls.Certificate{*a.cert}
	}
	return &http.Client{Transport: &http2.Transport{TLSClientConfig: cfg, DisableCompression: true}}
}

func spawn(dir, name string, args ...string) (*os.Process, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, filepath.Base(name)+".log"))
	if err != nil {
		return nil, err
	}
	c := exec.Command(name, args...)
	c.Dir, c.Stdout, c.Stderr = dir, log, log
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		return nil, err
	}
	go c.Wait()
	return c.Process, nil
}

func stopAll(procs []*os.Process) {
	for i := len(procs) - 1; i >= 0; i-- {
		procs[i].Signal(syscall.SIGTERM)
	}
	for _, p := range procs {
		for i := 0; i < 1000 && p.Signal(syscall.Signal(0)) == nil; i++ {
			time.Sleep(10 * time.Millisecond)
		}
		p.Kill()
	}
}

// await polls until a URL answers 200.
func (a *api) await(path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		req, _ := http.NewRequestWithContext(ctx, "GET", a.url+path, nil)
		if a.token != "" {
			req.Header.Set("Authorization", "Bearer "+a.token)
		}
		resp, err := a.client().Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == 200 {
				return nil
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
	return fmt.Errorf("%s%s does not answer", a.url, path)
}

func startPeer(dir string) func() (*api, error) {
	return func() (*api, error) {
		a := &api{url: "https://127.0.0.1:6553", token: "tok"}
		a.stop = func() { stopAll(a.procs) }
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, "tokens.csv"), []byte("tok,admin,admin,\"system:masters\"\n"), 0o600); err != nil {
			return nil, err
		}
		if out, err := exec.Command("openssl", "genrsa", "-out", filepath.Join(dir, "sa.key"), "2048").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("openssl: %v: %s", err, out)
		}
		etcd, err := spawn(dir, filepath.Join(*peersDir, "etcd"), "--data-dir", "etcd", "--listen-client-urls", "http://127.0.0.1:23790",
			"--advertise-client-urls", "http://127.0.0.1:23790", "--listen-peer-urls", "http://127.0.0.1:23800")
		if err != nil {
			return nil, err
		}
		a.procs = append(a.procs, etcd)
		for i := 0; ; i++ {
			resp, err := http.Get("http://127.0.0.1:23790/health")
			if err == nil {
				resp.Body.Close()
				if resp.StatusCode == 200 {
					break
				}
			}
			if i > 2000 {
				a.stop()
				return nil, fmt.Errorf("etcd does not answer")
			}
			time.Sleep(10 * time.Millisecond)
		}
		began := time.Now()
		kas, err := spawn(dir, filepath.Join(*peersDir, "kube-apiserver"), "--etcd-servers=http://127.0.0.1:23790", "--secure-port=6553", "--bind-address=127.0.0.1",
			"--advertise-address=10.123.0.1", "--cert-dir=certs", "--service-account-key-file=sa.key", "--service-account-signing-key-file=sa.key",
			"--service-account-issuer=https://kubernetes.default.svc", "--token-auth-file=tokens.csv", "--authorization-mode=Node,RBAC",
			"--service-cluster-ip-range=10.200.0.0/16", "--allow-privileged=true")
		if err != nil {
			a.stop()
			return nil, err
		}
		a.procs = append(a.procs, kas)
		if err := a.await("/readyz"); err != nil {
			a.stop()
			return nil, err
		}
		a.ready = time.Since(began)
		return a, nil
	}
}

func startTenet(dir string) func() (*api, error) {
	return func() (*api, error) {
		bin, err := filepath.Abs(*tenetBin)
		if err != nil {
			return nil, err
		}
		a := &api{url: "https://127.0.0.1:6554"}
		a.stop = func() { stopAll(a.procs) }
		data := filepath.Join(dir, "data")
		began := time.Now()
		p, err := spawn(dir, bin, "server", "--data-dir", data, "--port", "6554", "--bind-address", "127.0.0.1", "--no-kubeconfig")
		if err != nil {
			return nil, err
		}
		a.procs = append(a.procs, p)
		// /readyz needs no credentials, but the client wants its certificate for what follows.
		if err := a.await("/readyz"); err != nil {
			a.stop()
			return nil, err
		}
		a.ready = time.Since(began)
		var text []byte
		for i := 0; i < 500; i++ {
			if text, err = os.ReadFile(filepath.Join(data, "admin.kubeconfig")); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		cert, err := keyPair(text)
		if err != nil {
			a.stop()
			return nil, err
		}
		a.cert = cert
		return a, nil
	}
}

var (
	certData = regexp.MustCompile(`client-certificate-data: (\S+)`)
	keyData  = regexp.MustCompile(`client-key-data: (\S+)`)
)

// keyPair takes the client certificate out of a kubeconfig.
func keyPair(kubeconfig []byte) (*tls.Certificate, error) {
	c, k := certData.FindSubmatch(kubeconfig), keyData.FindSubmatch(kubeconfig)
	if c == nil || k == nil {
		return nil, fmt.Errorf("no client certificate in the kubeconfig")
	}
	cert, err := base64.StdEncoding.DecodeString(string(c[1]))
	if err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(string(k[1]))
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	return &pair, err
}
