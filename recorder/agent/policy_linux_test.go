package agent

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/pcapsule/pcapsule/recorder"
	"github.com/pcapsule/pcapsule/recorder/policy"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// TestPolicyByNamesOfTheAPI checks that a forbidden pod is not recorded, that one that the API
// reports late is recorded from then on, and that its namespace has its own retention time.
func TestPolicyByNamesOfTheAPI(t *testing.T) {
	scope := newScope(t)
	api := serveAPI(t)
	defer api.stop()
	known, knownGroup := podOf(1, "known")
	late, lateGroup := podOf(2, "late")
	api.add(known)
	p := &policy.Policy{}
	if err := errors.Join(p.AddNever("workload=shop/kno*"), p.AddAge("shop:1h")); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var last recorder.Stats
	until := func(what string, is func(recorder.Stats) bool) {
		t.Helper()
		for range 3000 {
			mu.Lock()
			s := last
			mu.Unlock()
			if is(s) {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("%s: not within 30 s; %+v", what, last.Counters)
	}
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	started := make(chan struct{})
	o := Options{Cluster: &rest.Config{Host: api.URL}, Labels: strings.Split(DefaultLabels, ",")}
	o.Record = recorder.Options{Node: "node-a", Cgroup: scope, Ring: &ring.Options{Dir: dir}, Program: "test", Every: 20 * time.Millisecond, Policy: p, NoNames: true,
		OnStart: func(recorder.Started) { close(started) },
		OnStats: func(s recorder.Stats) { mu.Lock(); last = s; mu.Unlock() }}
	ended := make(chan error, 1)
	go func() {
		_, err := Run(ctx, o)
		ended <- err
	}()
	select {
	case <-started:
	case err := <-ended:
		var right *recorder.PrivilegeError
		if errors.As(err, &right) || errors.Is(err, recorder.ErrCgroup) {
			t.Skip("needs CAP_BPF: ", err)
		}
		t.Fatal(err)
	}
	runPod(t, filepath.Join(scope, knownGroup))
	runPod(t, filepath.Join(scope, lateGroup))
	until("both pods sent", func(s recorder.Stats) bool { return s.Policy >= 10 })
	api.add(late)
	// Only the pod's own packets show that the API has reported it.
	sent := uint64(0)
	for range 1000 {
		mu.Lock()
		got, before := last.Delivered > 0, last.Seen
		mu.Unlock()
		if got {
			break
		}
		runPod(t, filepath.Join(scope, lateGroup))
		sent += 5
		until("the late pod sent", func(s recorder.Stats) bool { return s.Seen >= before+5 })
	}
	runPod(t, filepath.Join(scope, knownGroup))
	until("the known pod sent again", func(s recorder.Stats) bool { return s.Policy >= 15 })
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	packets, lines, events := readBack(t, dir)
	if packets["node-a/shop/late"] < 5 || len(packets) != 1 {
		t.Errorf("packets %v, want those of the late pod only, of %d", packets, sent)
	}
	for what, text := range map[string]string{"owners": lines, "events": events} {
		if strings.Contains(text, string(known.UID)) || strings.Contains(text, `"known"`) {
			t.Errorf("the %s file names a forbidden pod: %s", what, text)
		}
	}
	segments, err := ring.Segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range segments {
		if s.ID.Series != "sockets_1h" {
			t.Errorf("segment %s, want one of a series kept for 1 h", s.ID)
		}
	}
	if len(segments) == 0 {
		t.Error("no segment")
	}
}
