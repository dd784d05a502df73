package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tenet-run/tenet/apiserver/admission"
	"github.com/tenet-run/tenet/apiserver/services"
)

// maxAnswer is the most that a webhook may say.
const maxAnswer = 3 << 20

// client posts to one webhook. Its connections are made at the first call, and closed when its configuration changes.
type client struct {
	cfg  *admissionv1.WebhookClientConfig
	read admission.Reader

	once sync.Once
	http *http.Client
	url  string
	err  error
}

func newClient(cfg *admissionv1.WebhookClientConfig, read admission.Reader) *client {
	return &client{cfg: cfg, read: read}
}

func (c *client) build() {
	c.once.Do(func() {
		t := &http.Transport{
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: 10 * time.Second, MaxIdleConnsPerHost: 4,
			IdleConnTimeout: 30 * time.Second, ForceAttemptHTTP2: true, Proxy: http.ProxyFromEnvironment,
		}
		if len(c.cfg.CABundle) > 0 {
			t.TLSClientConfig.RootCAs = x509.NewCertPool()
			if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(c.cfg.CABundle) {
				c.err = errors.New("unable to load root certificates: unable to parse bytes as PEM block")
				return
			}
		}
		switch s := c.cfg.Service; {
		case s != nil:
			port := int32(443)
			if s.Port != nil {
				port = *s.Port
			}
			host := s.Name + "." + s.Namespace + ".svc"
			c.url = "https://" + net.JoinHostPort(host, strconv.Itoa(int(port)))
			if s.Path != nil {
				c.url += *s.Path
			}
			t.TLSClientConfig.ServerName = host
			t.Proxy = nil
			t.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return services.Dial(ctx, c.read, network, s.Namespace, s.Name, port)
			}
		case c.cfg.URL != nil:
			c.url = *c.cfg.URL
		default:
			c.err = errors.New("webhook configuration must have either service or URL")
		}
		c.http = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	})
}

func (c *client) close() {
	c.once.Do(func() { c.err = errors.New("the webhook's configuration has changed") })
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
}

func (c *client) post(ctx context.Context, body []byte) ([]byte, error) {
	if c.build(); c.err != nil {
		return nil, c.err
	}
	url := c.url
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		if whole := left.Truncate(time.Second); whole != left {
			left = whole + time.Second
		}
		url += "?timeout=" + left.String()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "kube-apiserver-admission")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxAnswer {
		return nil, fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 206 {
		return nil, apierrors.NewGenericServerResponse(resp.StatusCode, http.MethodPost, schema.GroupResource{}, "", string(data), 0, true)
	}
	return data, nil
}
