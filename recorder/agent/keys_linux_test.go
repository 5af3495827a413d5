package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/client-go/rest"

	"github.com/pcapsule/pcapsule/recorder"
	"github.com/pcapsule/pcapsule/recorder/keys"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/policy"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

const talkEnv = "PCAPSULE_AGENT_TEST_TALK"

// talkTLS requests a page from itself over HTTPS when it reads a byte.
func talkTLS(page string) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "this is %s", r.URL.Path) }))
	fmt.Println("ready")
	if _, err := io.ReadFull(os.Stdin, make([]byte, 1)); err != nil {
		os.Exit(1)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	res, err := client.Get(s.URL + page)
	if err == nil {
		_, err = io.ReadAll(res.Body)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("done")
	io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// talking is such a process, in a control group.
type talking struct {
	*exec.Cmd
	in  io.WriteCloser
	out io.Reader
}

func startTalk(t *testing.T, group, page string) *talking {
	t.Helper()
	if err := os.MkdirAll(group, 0o755); err != nil {
		t.Skip("needs a control group: ", err)
	}
	dir, err := os.Open(group)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	c := &talking{Cmd: exec.CommandContext(t.Context(), os.Args[0])}
	c.Env = append(os.Environ(), talkEnv+"="+page)
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	c.Stderr = os.Stderr
	if c.in, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if c.out, err = c.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.in.Close(); c.Wait() })
	c.hear(t, "ready\n")
	return c
}

func (c *talking) hear(t *testing.T, word string) {
	t.Helper()
	b := make([]byte, len(word))
	if _, err := io.ReadFull(c.out, b); err != nil || string(b) != word {
		t.Fatalf("the program printed %q, %v, want %q", b, err, word)
	}
}

// TestKeysAreChosenByNamespace reads keys and plaintext of pods from a fake API.
func TestKeysAreChosenByNamespace(t *testing.T) {
	scope := newScope(t)
	api := serveAPI(t)
	shop, shopGroup := podOf(11, "web")
	api.add(shop)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	started := make(chan struct{})
	var mu sync.Mutex
	var last recorder.Stats
	o := Options{Cluster: &rest.Config{Host: api.URL}, Labels: strings.Split(DefaultLabels, ",")}
	one := []workload.Selector{{Namespaces: []string{"shop"}}}
	o.Record = recorder.Options{Node: "node-a", Cgroup: scope, Ring: &ring.Options{Dir: dir}, Program: "test", Every: 20 * time.Millisecond,
		Keys:    &recorder.Keys{Workloads: one, PlaintextWorkloads: one, Layouts: filepath.Join(dir, "layouts")},
		Policy:  &policy.Policy{Never: []policy.Rule{{Owner: workload.Selector{Containers: []string{"forbidden"}}}}},
		OnStart: func(recorder.Started) { close(started) },
		OnStats: func(s recorder.Stats) { mu.Lock(); defer mu.Unlock(); last = s }}
	ended := make(chan error, 1)
	go func() {
		_, err := Run(ctx, o)
		ended <- err
	}()
	select {
	case <-started:
	case err := <-ended:
		var right *recorder.PrivilegeError
		if errors.As(err, &right) || errors.Is(err, recorder.ErrCgroup) || errors.Is(err, keys.ErrNamespace) {
			t.Skip("needs CAP_BPF: ", err)
		}
		t.Fatal(err)
	}
	until := func(what string, ok func(s *recorder.Stats) bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			mu.Lock()
			good := last.Keys != nil && ok(&last)
			mu.Unlock()
			if good {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s: not within 30 s; %+v", what, last.Keys)
			}
		}
	}
	state := func(s *recorder.Stats, pid int) keys.Process {
		for _, p := range s.Keys.Processes {
			if int(p.PID) == pid {
				return p
			}
		}
		return keys.Process{}
	}
	of := startTalk(t, filepath.Join(scope, shopGroup), "/of-shop")
	other := startTalk(t, filepath.Join(scope, "other.service"), "/of-others")
	until("a probe on the pod's program", func(s *recorder.Stats) bool { return state(s, of.Process.Pid).Reason == keys.NoHandshake })
	// Probes of plaintext are set by their own tracker, which reports no state of a process
	// before its first call.
	time.Sleep(3 * time.Second)
	for _, c := range []*talking{of, other} {
		if _, err := c.in.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		c.hear(t, "done\n")
	}
	until("verified keys and plaintext", func(s *recorder.Stats) bool {
		return state(s, of.Process.Pid).State == keys.Verified && s.Keys.Plaintext.Written >= 4
	})
	mu.Lock()
	k := last.Keys
	mu.Unlock()
	if p := state(&recorder.Stats{Keys: k}, other.Process.Pid); p.PID != 0 || k.Written != 4 || k.Plaintext.Forbidden != 0 {
		t.Errorf("the other process is %+v; %d keys, want 4; %d pieces forbidden", p, k.Written, k.Plaintext.Forbidden)
	}
	// The state becomes an event when it is settled, at the latest at the end.
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	_, lines, events := readBack(t, dir)
	if n := strings.Count(lines, "_TRAFFIC_SECRET"); n != 4 || !strings.Contains(lines, fmt.Sprintf(" pid %d ", of.Process.Pid)) {
		t.Errorf("%d key lines, want 4: %s", n, lines)
	}
	if !strings.Contains(events, `"kind":"tls_keys"`) || !strings.Contains(events, `"after":"verified"`) || !strings.Contains(events, `"pod_uid":"`+string(shop.UID)) {
		t.Errorf("no event of the pod's keys: %s", events)
	}
	said := plainOf(t, dir)
	if strings.Count(said, "GET /of-shop HTTP/1.1") != 2 || strings.Count(said, "this is /of-shop") != 2 || strings.Contains(said, "others") {
		t.Errorf("plaintext: %q", said)
	}
	if r, err := ring.Verify(dir, ring.VerifyOptions{}); err != nil || len(r.Problems) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// plainOf returns all plaintext of a ring, in order.
func plainOf(t *testing.T, dir string) (all string) {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "plaintext-*.pcapng"))
	if err != nil || len(list) == 0 {
		t.Fatal("no plaintext", err)
	}
	for _, path := range list {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v, want 0600", path, info.Mode(), err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r, err := pcapng.NewReader(f, pcapng.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var b pcapng.Batch
		for r.Next(&b) == nil {
			for i := range b.Packets {
				all += string(b.Packets[i].Data)
			}
		}
	}
	return all
}

func TestMetricsOfKeys(t *testing.T) {
	a := standing(t, 5)
	s := *a.stats.Load()
	s.Keys = &recorder.KeyStats{Processes: []keys.Process{{PID: 1, State: keys.Verified}, {PID: 2, State: keys.Verified}, {PID: 3, Reason: keys.NoTLS}, {PID: 4, Reason: keys.NoLayout}},
		Plaintext: &recorder.PlainStats{PlainCounters: keys.PlainCounters{Calls: 3, Seen: 5, Written: 4, Lost: 1, Bytes: 99}, Forbidden: 1}}
	s.Keys.Written, s.Keys.Seen = 8, 8
	a.stats.Store(&s)
	want := `
# HELP pcapsule_recorder_tls_processes Selected processes, including ended ones, by state of their TLS keys; for none with the reason.
# TYPE pcapsule_recorder_tls_processes gauge
pcapsule_recorder_tls_processes{reason="",state="plaintext"} 0
pcapsule_recorder_tls_processes{reason="",state="unverified"} 0
pcapsule_recorder_tls_processes{reason="",state="verified"} 2
pcapsule_recorder_tls_processes{reason="no_layout",state="none"} 1
pcapsule_recorder_tls_processes{reason="no_tls",state="none"} 1
# HELP pcapsule_recorder_plaintext_pieces_total Pieces of plaintext, by what became of them.
# TYPE pcapsule_recorder_plaintext_pieces_total counter
pcapsule_recorder_plaintext_pieces_total{fate="delivered"} 3
pcapsule_recorder_plaintext_pieces_total{fate="forbidden"} 1
pcapsule_recorder_plaintext_pieces_total{fate="memory not readable"} 0
pcapsule_recorder_plaintext_pieces_total{fate="not chosen"} 0
pcapsule_recorder_plaintext_pieces_total{fate="not written"} 0
pcapsule_recorder_plaintext_pieces_total{fate="results not as expected"} 0
pcapsule_recorder_plaintext_pieces_total{fate="ring buffer full"} 1
pcapsule_recorder_plaintext_pieces_total{fate="seen"} 5
`
	if err := testutil.CollectAndCompare(a, strings.NewReader(want), "pcapsule_recorder_tls_processes", "pcapsule_recorder_plaintext_pieces_total"); err != nil {
		t.Error(err)
	}
}
