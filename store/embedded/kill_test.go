package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tenet-run/tenet/store"
	"github.com/tenet-run/tenet/store/storetest"
)

// The kill test runs this very test binary as the process that is killed.
const (
	killDirEnv    = "TENET_KILL_DIR"
	killRoundsEnv = "TENET_KILL_ROUNDS" // how many rounds TestKill does; default 200
	killWriters   = 8
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDirEnv); dir != "" {
		if err := killChild(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// killChild writes until it is killed. Each writer counts on a key of its own, renews a lease, and tells what was acknowledged.
func killChild(dir string) error {
	s, err := Open(context.Background(), Options{Dir: dir, Logger: quiet(), Window: Window{MaxBytes: 1 << 20}, memTable: 256 << 10})
	if err != nil {
		return err
	}
	say := func(format string, args ...any) { os.Stdout.WriteString(fmt.Sprintf(format, args...)) } // one write(2) each
	say("ready %d\n", s.Revision())
	errs := make(chan error)
	for i := range killWriters {
		go func() {
			for {
				r, err := store.Update(context.Background(), s, killKey("pods", i), func(r *store.Record) (*store.Write, error) {
					return &store.Write{Value: fmt.Appendf(nil, "%d %s", count(r)+1, strings.Repeat("x", 700))}, nil
				})
				if err != nil {
					errs <- err
					return
				}
				say("ack %d %d %d\n", i, count(r), r.Revision)
				if count(r)%5 != 0 {
					continue
				}
				// Both or none; and a renewal.
				two, err := s.Commit(context.Background(), store.Write{Key: killKey("a", i), Value: fmt.Append(nil, count(r))},
					store.Write{Key: killKey("b", i), Value: fmt.Append(nil, count(r))})
				if err == nil {
					say("rev %d\n", two[1].Revision)
					two, err = s.Commit(context.Background(), store.Write{Key: killKey("leases", i), Value: []byte("x"), Volatile: true})
				}
				if err != nil {
					errs <- err
					return
				}
				say("rev %d\n", two[0].Revision)
			}
		}()
	}
	return <-errs
}

func killKey(prefix string, i int) store.Key {
	return store.Key{Prefix: prefix, Namespace: "x", Name: fmt.Sprint(i)}
}

func count(r *store.Record) (n int) {
	if r != nil {
		fmt.Sscan(string(r.Value), &n)
	}
	return n
}

// TestKill kills a writing process with SIGKILL, again and again, now and then a second time while it starts: nothing that it acknowledged may be lost,
// and its revisions never go back.
func TestKill(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 20
	}
	if v := os.Getenv(killRoundsEnv); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatalf("%s: %v", killRoundsEnv, err)
		}
		rounds = n
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	seed := storetest.Seed(t)
	r := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	var highest store.Revision
	var acked [killWriters]int
	acks := 0
	for round := range rounds {
		for again := round%4 == 3; ; again = false {
			wait := time.Duration(r.IntN(25)) * time.Millisecond
			out, err := runAndKill(self, dir, wait, again)
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			for _, line := range out {
				var i, n int
				var rev store.Revision
				if _, err := fmt.Sscanf(line, "ready %d", &rev); err == nil {
					if rev < highest {
						t.Fatalf("round %d: started at revision %d; %d had been handed out", round, rev, highest)
					}
				} else if _, err := fmt.Sscanf(line, "rev %d", &rev); err != nil {
					if _, err := fmt.Sscanf(line, "ack %d %d %d", &i, &n, &rev); err != nil {
						t.Fatalf("round %d: the child says %q", round, line)
					}
					acked[i] = max(acked[i], n)
					acks++
				}
				highest = max(highest, rev)
			}
			if !again {
				break
			}
		}
		checkKilled(t, dir, round, highest, acked)
	}
	t.Logf("%d rounds, %d acknowledged writes, revision %d", rounds, acks, highest)
	if rounds >= 20 && acks == 0 {
		t.Fatal("no write was ever acknowledged")
	}
}

// runAndKill starts a child and kills it: early, some time after its start, or else some time after it is ready. It returns the lines it had written.
func runAndKill(self, dir string, wait time.Duration, early bool) ([]string, error) {
	cmd := exec.Command(self, "-test.run=^$")
	cmd.Env = append(os.Environ(), killDirEnv+"="+dir)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var lines []string
	ready := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() {
		in := bufio.NewReader(pipe)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				break // an unfinished line is no acknowledgement
			}
			if lines = append(lines, line); len(lines) == 1 {
				close(ready)
			}
		}
		_, _ = io.Copy(io.Discard, pipe)
	})
	exited := make(chan struct{})
	go func() { reading.Wait(); close(exited) }()
	if !early {
		select {
		case <-ready:
		case <-exited:
		}
	} else {
		wait *= 4 // it takes that long to start
	}
	select {
	case <-time.After(wait):
	case <-exited:
	}
	_ = cmd.Process.Kill()
	<-exited
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Exited() {
		return nil, fmt.Errorf("the child ended by itself: %v: %s", err, stderr.String())
	}
	return lines, nil
}

func checkKilled(t *testing.T, dir string, round int, highest store.Revision, acked [killWriters]int) {
	t.Helper()
	s, err := Open(context.Background(), Options{Dir: dir, Logger: quiet(), Window: Window{MaxBytes: 1 << 20}})
	if err != nil {
		t.Fatalf("round %d: open: %v", round, err)
	}
	if s.Revision() < highest {
		t.Fatalf("round %d: at revision %d; %d had been handed out", round, s.Revision(), highest)
	}
	for i, n := range acked {
		r, _ := s.Get(killKey("pods", i))
		if got := count(r); got < n {
			t.Fatalf("round %d: writer %d had counted to %d, the store has %d", round, i, n, got)
		}
		a, _ := s.Get(killKey("a", i))
		b, _ := s.Get(killKey("b", i))
		if count(a) != count(b) {
			t.Fatalf("round %d: half a commit: %d and %d", round, count(a), count(b))
		}
	}
	if round%20 == 0 {
		if diff, err := s.Check(context.Background()); err != nil || len(diff) > 0 {
			t.Fatalf("round %d: check: %v, %v", round, diff, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatalf("round %d: close: %v", round, err)
	}
}
