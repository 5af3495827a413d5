package agent

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/pcapsule/pcapsule/recorder"
	"github.com/pcapsule/pcapsule/recorder/internal/kube"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

func standing(t *testing.T, dropped uint64) *agent {
	t.Helper()
	dir := t.TempDir()
	for name, size := range map[string]int{"sockets-a-000000001.pcapng": 100, ".sockets-a-000000002.pcapng": 50, "sockets-a-000000001.events": 7, "seals.jsonl": 9, "strange": 3} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a := &agent{o: Options{Record: recorder.Options{Ring: &ring.Options{Dir: dir}, Node: "a", Program: "p"}}, began: time.Now()}
	a.started.Store(&recorder.Started{})
	s := recorder.Stats{Bytes: 4096, EventsLost: 2}
	s.Seen, s.Filtered, s.Delivered, s.Dropped = 100, 10, 85, dropped
	s.Drops = []ring.Drop{{Reason: "ring buffer full", Packets: 4}, {Reason: "output", Packets: 1}}
	s.CPUs = []recorder.CPU{{Seen: 60, Delivered: 56, BufferFull: 4}, {Seen: 40, Delivered: 30, Filtered: 10}}
	s.Parts = []recorder.Part{{Name: "a/shop/web", Delivered: 50, Lost: 1}, {Name: "a/shop/web", Delivered: 20}, {Name: "a/-/root", Delivered: 15, Lost: 4}}
	a.stats.Store(a.stats.Load().next(s, time.Now()))
	return a
}

func TestMetricsMatchTheRecording(t *testing.T) {
	a := standing(t, 5)
	a.source.Store(kube.New(kube.API{}, kube.Options{Node: "a"}))
	want := `
# HELP pcapsule_recorder_packets_dropped_total Packets lost, by reason.
# TYPE pcapsule_recorder_packets_dropped_total counter
pcapsule_recorder_packets_dropped_total{reason="output"} 1
pcapsule_recorder_packets_dropped_total{reason="ring buffer full"} 4
# HELP pcapsule_recorder_interface_packets_lost_total Packets lost, by interface of the recording.
# TYPE pcapsule_recorder_interface_packets_lost_total counter
pcapsule_recorder_interface_packets_lost_total{interface="a/-/root"} 4
pcapsule_recorder_interface_packets_lost_total{interface="a/shop/web"} 1
# HELP pcapsule_recorder_interface_packets_delivered_total Packets written, by interface of the recording: node/namespace/pod.
# TYPE pcapsule_recorder_interface_packets_delivered_total counter
pcapsule_recorder_interface_packets_delivered_total{interface="a/-/root"} 15
pcapsule_recorder_interface_packets_delivered_total{interface="a/shop/web"} 70
# HELP pcapsule_recorder_packets_seen_total Packets that the kernel programs saw: filtered, delivered or dropped.
# TYPE pcapsule_recorder_packets_seen_total counter
pcapsule_recorder_packets_seen_total 100
# HELP pcapsule_recorder_balanced 1 if seen = filtered + delivered + dropped.
# TYPE pcapsule_recorder_balanced gauge
pcapsule_recorder_balanced 1
# HELP pcapsule_recorder_ring_packet_bytes Bytes of segments, including open ones.
# TYPE pcapsule_recorder_ring_packet_bytes gauge
pcapsule_recorder_ring_packet_bytes 150
# HELP pcapsule_recorder_ring_segments Sealed segments in the ring.
# TYPE pcapsule_recorder_ring_segments gauge
pcapsule_recorder_ring_segments 1
# HELP pcapsule_recorder_ring_side_bytes Bytes of the side files of segments: owners, events and keys.
# TYPE pcapsule_recorder_ring_side_bytes gauge
pcapsule_recorder_ring_side_bytes 7
# HELP pcapsule_recorder_kubernetes_synced 1 if this node's pods have been listed.
# TYPE pcapsule_recorder_kubernetes_synced gauge
pcapsule_recorder_kubernetes_synced 0
`
	err := testutil.CollectAndCompare(a, strings.NewReader(want), "pcapsule_recorder_packets_dropped_total", "pcapsule_recorder_packets_seen_total", "pcapsule_recorder_balanced", "pcapsule_recorder_interface_packets_lost_total", "pcapsule_recorder_interface_packets_delivered_total",
		"pcapsule_recorder_ring_packet_bytes", "pcapsule_recorder_ring_segments", "pcapsule_recorder_ring_side_bytes", "pcapsule_recorder_kubernetes_synced")
	if err != nil {
		t.Error(err)
	}
	if found, err := testutil.CollectAndLint(a); err != nil || len(found) > 0 {
		t.Errorf("%v, %v", found, err)
	}
}

func TestProbes(t *testing.T) {
	for _, row := range []struct {
		name         string
		change       func(*agent)
		alive, ready int
		want         string
	}{
		{"recording", func(*agent) {}, 200, 200, `"delivered": 85`},
		{"starting", func(a *agent) { a.started.Store(nil); a.stats.Store(nil) }, 200, 503, `"recording": false`},
		{"not started for an hour", func(a *agent) { a.started.Store(nil); a.stats.Store(nil); a.began = time.Now().Add(-time.Hour) }, 503, 503, `"alive": false`},
		{"no statistics for an hour", func(a *agent) { a.stats.Load().at = time.Now().Add(-time.Hour) }, 503, 503, `"alive": false`},
		{"the disk is full", func(a *agent) {
			s := a.stats.Load().Stats
			s.Drops = []ring.Drop{{Reason: "ring buffer full", Packets: 4}, {Reason: "output", Packets: 2}}
			a.stats.Store(a.stats.Load().next(s, time.Now()))
		}, 200, 503, `"writing": false`},
		{"the disk was full for a time", func(a *agent) { a.stats.Load().unsaved = time.Now().Add(-time.Minute) }, 200, 200, `"writing": true`},
		{"the kernel lost packets", func(a *agent) {
			s := a.stats.Load().Stats
			s.Drops = []ring.Drop{{Reason: "ring buffer full", Packets: 9}, {Reason: "output", Packets: 1}}
			a.stats.Store(a.stats.Load().next(s, time.Now()))
		}, 200, 200, `"writing": true`},
		{"Kubernetes has not responded", func(a *agent) { a.source.Store(kube.New(kube.API{}, kube.Options{Node: "a"})) }, 200, 503, `"synced": false`},
	} {
		t.Run(row.name, func(t *testing.T) {
			a := standing(t, 5)
			row.change(a)
			h := a.handler()
			for path, want := range map[string]int{"/healthz": row.alive, "/readyz": row.ready, "/metrics": 200, "/": 404} {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
				if w.Code != want {
					t.Errorf("%s: %d, want %d", path, w.Code, want)
				}
				if strings.HasSuffix(path, "z") && (!json.Valid(w.Body.Bytes()) || !strings.Contains(w.Body.String(), row.want)) {
					t.Errorf("%s: %s", path, w.Body)
				}
			}
		})
	}
}

func TestMetricNamesAreUnique(t *testing.T) {
	all := prometheus.NewPedanticRegistry()
	all.MustRegister(standing(t, 5))
	got, err := all.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, f := range got {
		found = found || f.GetName() == "pcapsule_recorder_events_lost_total"
	}
	if !found {
		t.Error("lost events are not reported")
	}
}

func TestRunRejectsInvalidOptions(t *testing.T) {
	if _, err := Run(t.Context(), Options{}); err == nil || !strings.Contains(err.Error(), "no ring") {
		t.Errorf("without a ring: %v", err)
	}
	o := Options{Record: recorder.Options{Ring: &ring.Options{Dir: t.TempDir()}}, Listen: "127.0.0.1:999999"}
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "listening for metrics") {
		t.Errorf("with an invalid port: %v", err)
	}
}
