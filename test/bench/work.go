package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	jsonType     = "application/json"
	protobufType = "application/vnd.kubernetes.protobuf"
	tableType    = "application/json;as=Table;v=v1;g=meta.k8s.io"
)

// do sends one request and reads the answer to its end.
func (a *api) do(c *http.Client, method, path, accept, encoding string, body []byte) (int64, error) {
	req, err := http.NewRequest(method, a.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("Accept-Encoding", encoding)
	req.Header.Set("User-Agent", "bench")
	if body != nil {
		req.Header.Set("Content-Type", jsonType)
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		text, _ := io.ReadAll(resp.Body)
		return 0, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	return io.Copy(io.Discard, resp.Body)
}

// pod is a pod of ordinary size: 1 in 100 has the label that the label rows ask for.
func pod(name string, i int) []byte {
	group := "many"
	if i%100 == 0 {
		group = "few"
	}
	return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q,"namespace":"bench","labels":{"app":"bench","group":%q,"pod-template-hash":"5d59d67564"},
"annotations":{"kubernetes.io/description":"a pod for the benchmark, with an annotation of ordinary length"}},
"spec":{"schedulerName":"none","containers":[{"name":"nginx","image":"nginx:stable","ports":[{"containerPort":80,"name":"http"}],
"env":[{"name":"LOG_LEVEL","value":"info"},{"name":"POD_NAME","valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}],
"resources":{"requests":{"cpu":"100m","memory":"64Mi"},"limits":{"memory":"128Mi"}},
"readinessProbe":{"httpGet":{"path":"/","port":"http"},"periodSeconds":5},
"volumeMounts":[{"name":"config","mountPath":"/etc/config"}]}],"volumes":[{"name":"config","configMap":{"name":"settings"}}]}}`, name, group)
}

// each runs n calls with so many workers, each with a connection of its own.
func (a *api) each(workers, n int, call func(c *http.Client, i int) error) (time.Duration, error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, workers)
	began := time.Now()
	for range workers {
		wg.Go(func() {
			c := a.client()
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				if err := call(c, int(i)); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	select {
	case err := <-errs:
		return took, err
	default:
		return took, nil
	}
}

// measure runs work and says what it cost the server and the load generator.
func (a *api) measure(name string, work func() error) (took, server, load time.Duration, err error) {
	defer a.profile(name)()
	before, own, began := a.usage(), ownCPU(), time.Now()
	err = work()
	took = time.Since(began)
	return took, a.usage().cpu - before.cpu, ownCPU() - own, err
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
func mb(n int64) float64         { return float64(n) / (1 << 20) }

func (s *side) run() (*results, error) {
	log.Printf("%s", s.name)
	r := &results{}
	a, err := s.start()
	if err != nil {
		return nil, err
	}
	defer a.stop()
	c := a.client()
	r.add("start to /readyz", a.ready.Seconds(), false, "%.3f s", a.ready.Seconds())

	if _, err := a.do(c, "POST", "/api/v1/namespaces", jsonType, "identity", []byte(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"bench"}}`)); err != nil {
		return nil, err
	}
	sa := []byte(`{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"default","namespace":"bench"}}`)
	if _, err := a.do(c, "POST", "/api/v1/namespaces/bench/serviceaccounts", jsonType, "identity", sa); err != nil && !strings.Contains(err.Error(), "already exists") {
		return nil, err
	}
	time.Sleep(3 * time.Second) // what starting leaves behind
	before := a.usage()
	time.Sleep(*idleFor)
	after := a.usage()
	r.add("idle RSS; of it anonymous", mb(after.rss), false, "%.0f MB; %.0f MB", mb(after.rss), mb(after.anon))
	idle := float64(after.cpu-before.cpu) / float64(*idleFor) * 100
	r.add("idle CPU", idle, false, "%.2f %% of a core", idle)
	r.add("idle disk writes a minute", 0, false, "%.2f MB", mb(after.diskWrites-before.diskWrites)/idleFor.Minutes())

	n := *objects
	took, cpu, load, err := a.measure("create", func() error {
		_, err := a.each(32, n, func(c *http.Client, i int) error {
			_, err := a.do(c, "POST", "/api/v1/namespaces/bench/pods", jsonType, "identity", pod(fmt.Sprintf("pod-%05d", i), i))
			return err
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	r.add("create pods, 32 clients", float64(n)/took.Seconds(), true, "%.0f/s", float64(n)/took.Seconds())
	r.add("  server CPU per create (load)", ms(cpu)/float64(n), false, "%.3f ms (%.3f ms)", ms(cpu)/float64(n), ms(load)/float64(n))

	gets := 2 * n
	took, cpu, load, err = a.measure("get", func() error {
		_, err := a.each(32, gets, func(c *http.Client, i int) error {
			_, err := a.do(c, "GET", fmt.Sprintf("/api/v1/namespaces/bench/pods/pod-%05d", i%n), jsonType, "identity", nil)
			return err
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	r.add("GET, 32 clients", float64(gets)/took.Seconds(), true, "%.0f/s", float64(gets)/took.Seconds())
	r.add("  server CPU per GET (load)", ms(cpu)/float64(gets), false, "%.3f ms (%.3f ms)", ms(cpu)/float64(gets), ms(load)/float64(gets))

	lists := []struct {
		name, path, accept, encoding string
		times                        int
	}{
		{"LIST all, JSON", "/api/v1/namespaces/bench/pods", jsonType, "identity", 5},
		{"LIST all, JSON, gzip", "/api/v1/namespaces/bench/pods", jsonType, "gzip", 3},
		{"LIST all, protobuf", "/api/v1/namespaces/bench/pods", protobufType, "identity", 5},
		{"LIST all, Table", "/api/v1/namespaces/bench/pods", tableType, "identity", 3},
		{"LIST 1 % by label", "/api/v1/namespaces/bench/pods?labelSelector=group%3Dfew", jsonType, "identity", 100},
		{"LIST one page of 500", "/api/v1/namespaces/bench/pods?limit=500", jsonType, "identity", 50},
	}
	for _, l := range lists {
		l.times *= *repeat
		var size int64
		if size, err = a.do(c, "GET", l.path, l.accept, l.encoding, nil); err != nil { // once before, so that both sides are warm
			return nil, err
		}
		took, cpu, load, err := a.measure(l.name, func() error {
			for range l.times {
				if _, err := a.do(c, "GET", l.path, l.accept, l.encoding, nil); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		k := float64(l.times)
		r.add(fmt.Sprintf("%s (%.1f MB)", l.name, mb(size)), ms(took)/k, false, "%.1f ms", ms(took)/k)
		r.add("  server CPU (load)", ms(cpu)/k, false, "%.1f ms (%.1f ms)", ms(cpu)/k, ms(load)/k)
	}
	a.resetPeak()
	rss := a.usage().rss
	took, cpu, load, err = a.measure("8 lists", func() error {
		_, err := a.each(8, 8, func(c *http.Client, _ int) error {
			_, err := a.do(c, "GET", "/api/v1/namespaces/bench/pods", jsonType, "identity", nil)
			return err
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	u := a.usage()
	r.add("8 LISTs of all at once, JSON", ms(took), false, "%.0f ms", ms(took))
	r.add("  server CPU (load)", ms(cpu), false, "%.0f ms (%.0f ms)", ms(cpu), ms(load))
	r.add("  RSS before; its growth at the highest; after", 0, false, "%.0f MB; %+.0f MB; %+.0f MB", mb(rss), mb(u.peak-rss), mb(u.rss-rss))

	if err := a.fanOut(r, *watchers, 0); err != nil {
		return nil, err
	}
	if *silent > 0 {
		// The same twice: what do the silent ones cost the others?
		if err := a.fanOut(r, 9**silent, 0); err != nil {
			return nil, err
		}
		if err := a.fanOut(r, 9**silent, *silent); err != nil {
			return nil, err
		}
	}

	took, cpu, load, err = a.measure("delete", func() error {
		if _, err := a.do(c, "DELETE", "/api/v1/namespaces/bench/pods?gracePeriodSeconds=0", jsonType, "identity", nil); err != nil {
			log.Printf("  delete collection: %.200v; going on until all are gone", err)
		}
		for {
			left, err := a.count(c)
			if err != nil || left == 0 {
				return err
			}
			if _, err := a.do(c, "DELETE", "/api/v1/namespaces/bench/pods?gracePeriodSeconds=0", jsonType, "identity", nil); err != nil {
				log.Printf("  delete collection: %.200v", err)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	r.add("delete the collection", took.Seconds(), false, "%.2f s", took.Seconds())
	r.add("  server CPU (load)", cpu.Seconds(), false, "%.2f s (%.2f s)", cpu.Seconds(), load.Seconds())
	return r, nil
}

// count is the number of pods that are left, from the remainingItemCount of a page of one.
func (a *api) count(c *http.Client) (int, error) {
	req, err := http.NewRequest("GET", a.url+"/api/v1/namespaces/bench/pods?limit=1", nil)
	if err != nil {
		return 0, err
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var list struct {
		Metadata struct{ RemainingItemCount int }
		Items    []json.RawMessage
	}
	err = json.NewDecoder(resp.Body).Decode(&list)
	return len(list.Items) + list.Metadata.RemainingItemCount, err
}

// fanOut opens watchers on a namespace of config maps, changes objects as fast as eight clients can, and measures delivery to all. Beside them are silent ones that
// never read.
func (a *api) fanOut(r *results, watchers, silent int) error {
	const writers = 8
	changes := 1000 * *repeat
	c := a.client()
	base := "/api/v1/namespaces/bench/configmaps"
	object := func(w, i int) []byte {
		return fmt.Appendf(nil, `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"beat-%d","namespace":"bench"},"data":{"at":"%d","n":"%d","fill":%q}}`, w, time.Now().UnixNano(), i, strings.Repeat("x", 1000))
	}
	for w := range writers {
		if _, err := a.do(c, "POST", base, jsonType, "identity", object(w, 0)); err != nil && !strings.Contains(err.Error(), "already exists") {
			return err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var ready, done sync.WaitGroup
	var received atomic.Int64
	lags := make([][]time.Duration, watchers)
	errs := make(chan error, watchers)
	conns := make([]*http.Client, 8)
	for i := range conns {
		conns[i] = a.client()
	}
	for range silent {
		if err := a.silentWatch(ctx, base+"?watch=1&resourceVersion=0"); err != nil {
			return err
		}
	}
	for i := range watchers {
		ready.Add(1)
		done.Go(func() {
			req, _ := http.NewRequestWithContext(ctx, "GET", a.url+base+"?watch=1&resourceVersion=0", nil)
			if a.token != "" {
				req.Header.Set("Authorization", "Bearer "+a.token)
			}
			resp, err := conns[i%len(conns)].Do(req)
			if err != nil {
				errs <- err
				ready.Done()
				return
			}
			defer resp.Body.Close()
			in := bufio.NewReaderSize(resp.Body, 64<<10)
			first := writers // the objects there are
			for {
				line, err := in.ReadSlice('\n')
				if err != nil {
					if first > 0 {
						errs <- err
						ready.Done()
					}
					return
				}
				if first > 0 {
					if !bytes.Contains(line, []byte(`"name":"beat-`)) {
						continue // what the cluster puts into every namespace
					}
					if first--; first == 0 {
						ready.Done()
					}
					continue
				}
				at := bytes.Index(line, []byte(`"at":"`))
				if at < 0 {
					continue
				}
				var sent int64
				for _, b := range line[at+6:] {
					if b < '0' || b > '9' {
						break
					}
					sent = sent*10 + int64(b-'0')
				}
				lags[i] = append(lags[i], time.Since(time.Unix(0, sent)))
				if received.Add(1) == int64(watchers*changes) {
					cancel()
					return
				}
			}
		})
	}
	ready.Wait()
	select {
	case err := <-errs:
		return err
	default:
	}
	time.Sleep(200 * time.Millisecond)
	took, cpu, load, err := a.measure(fmt.Sprintf("fan-out %d+%d", watchers, silent), func() error {
		if _, err := a.each(writers, changes, func(c *http.Client, i int) error {
			w := i % writers
			_, err := a.do(c, "PUT", fmt.Sprintf("%s/beat-%d", base, w), jsonType, "identity", object(w, i+1))
			return err
		}); err != nil {
			return err
		}
		// A server may cut watchers that fall behind: what they miss is not waited for, and is said.
		for last := int64(-1); ctx.Err() == nil && received.Load() != last; {
			last = received.Load()
			select {
			case <-ctx.Done():
			case <-time.After(2 * time.Second):
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if lost := int64(watchers*changes) - received.Load(); lost > 0 {
		took -= 2 * time.Second // of waiting for what does not come
		log.Printf("  %d events did not come: their watchers were cut off", lost)
	}
	cancel()
	done.Wait()
	var all []time.Duration
	for _, l := range lags {
		all = append(all, l...)
	}
	slices.Sort(all)
	rate := float64(len(all)) / took.Seconds()
	name := fmt.Sprintf("watch fan-out, %d watchers", watchers)
	if silent > 0 {
		name += fmt.Sprintf(" beside %d that never read", silent)
	}
	r.add(name, rate, true, "%.0f events/s", rate)
	r.add("  events not delivered, their watchers having been cut off", float64(int64(watchers*changes)-int64(len(all))), false, "%d of %d", watchers*changes-len(all), watchers*changes)
	r.add("  lag p50; p99", ms(all[len(all)/2]), false, "%.1f ms; %.1f ms", ms(all[len(all)/2]), ms(all[len(all)*99/100]))
	r.add("  server CPU per 1,000 events (load)", ms(cpu)/float64(len(all))*1000, false, "%.2f ms (%.2f ms)", ms(cpu)/float64(len(all))*1000, ms(load)/float64(len(all))*1000)
	return nil
}
