package agent

import (
	"encoding/json"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pcapsule/pcapsule/recorder"
	"github.com/pcapsule/pcapsule/recorder/internal/kube"
)

// silence is how long a recording may say nothing of itself; it does so every second.
const silence = 30 * time.Second

// health is what the probes answer.
type health struct {
	Recording bool          `json:"recording"` // packets arrive, or would
	Alive     bool          `json:"alive"`     // it told how it stands a moment ago
	Ready     bool          `json:"ready"`     // it records, and knows whose packets are or has nobody to ask
	Balanced  bool          `json:"balanced"`  // seen = filtered + delivered + dropped
	Seen      uint64        `json:"seen"`
	Filtered  uint64        `json:"filtered"`
	Delivered uint64        `json:"delivered"`
	Dropped   uint64        `json:"dropped"`
	Kube      *healthOfKube `json:"kubernetes,omitempty"`
}

type healthOfKube struct {
	Synced bool            `json:"synced"`
	Pods   int             `json:"pods"`
	Stale  map[string]gone `json:"stale,omitempty"` // feeds that do not answer
}

type gone struct {
	Since time.Time `json:"since"`
	Error string    `json:"error"`
}

func (a *agent) health() health {
	h := health{Recording: a.started.Load() != nil}
	if s := a.stats.Load(); s != nil {
		h.Alive = time.Since(s.at) < silence
		h.Balanced = s.Balanced()
		h.Seen, h.Filtered, h.Delivered, h.Dropped = s.Seen, s.Filtered, s.Delivered, s.Dropped
	} else {
		h.Alive = time.Since(a.began) < 2*silence // it is only beginning
	}
	h.Ready = h.Recording && h.Alive
	if a.source != nil {
		s := a.source.State()
		h.Kube = &healthOfKube{Synced: s.Synced, Pods: s.Pods}
		for _, f := range s.Feeds {
			if !f.Stale.IsZero() {
				if h.Kube.Stale == nil {
					h.Kube.Stale = map[string]gone{}
				}
				h.Kube.Stale[f.Name] = gone{f.Stale.UTC(), f.Err}
			}
		}
		h.Ready = h.Ready && s.Synced
	}
	return h
}

// handler answers /metrics, /healthz and /readyz. An API that is away does not make the
// recorder unhealthy: a restart would lose what it knows, and packets.
func (a *agent) handler() http.Handler {
	all := prometheus.NewRegistry()
	all.MustRegister(a, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(all, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 20 * time.Second}))
	probe := func(good func(health) bool) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			h := a.health()
			w.Header().Set("Content-Type", "application/json")
			if !good(h) {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			e := json.NewEncoder(w)
			e.SetIndent("", "  ")
			_ = e.Encode(h) // the prober may have gone
		}
	}
	mux.Handle("GET /healthz", probe(func(h health) bool { return h.Alive }))
	mux.Handle("GET /readyz", probe(func(h health) bool { return h.Ready }))
	return mux
}

// metric is one number that Prometheus may ask for.
type metric struct {
	*prometheus.Desc
	kind prometheus.ValueType
}

func number(kind prometheus.ValueType, name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("pcapsule_recorder_"+name, help, labels, nil), kind}
}

func (m metric) is(v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(m.Desc, m.kind, v, labels...)
}

// Describe says nothing: which metrics there are depends on what is recorded.
func (a *agent) Describe(chan<- *prometheus.Desc) {}

// Collect gives the numbers as they are now.
func (a *agent) Collect(out chan<- prometheus.Metric) {
	count := func(name, help string, v uint64) { out <- number(prometheus.CounterValue, name, help).is(float64(v)) }
	gauge := func(name, help string, v float64) { out <- number(prometheus.GaugeValue, name, help).is(v) }
	out <- number(prometheus.GaugeValue, "info", "What runs here; always 1.", "program", "node", "go").is(1, a.o.Record.Program, a.o.Record.Node, runtime.Version())
	count("errors_total", "Troubles that did not end the recording.", a.errors.Load())
	if s := a.stats.Load(); s != nil {
		count("packets_seen_total", "Packets that the programs in the kernel saw: filtered, delivered and dropped ones.", s.Seen)
		count("packets_filtered_total", "Packets left out by the filter, or since they are the recorder's own.", s.Filtered)
		count("packets_forbidden_total", "Packets left out since the policy forbids them, of the filtered.", s.Policy)
		count("packets_delivered_total", "Packets written.", s.Delivered)
		dropped := number(prometheus.CounterValue, "packets_dropped_total", "Packets lost, by the reason.", "reason")
		for _, d := range s.Drops {
			out <- dropped.is(float64(d.Packets), d.Reason)
		}
		count("packets_truncated_total", "Packets written with fewer bytes than they had.", s.Truncated)
		count("packets_late_total", "Packets that came too late for the order of time.", s.Late)
		count("captured_bytes_total", "Bytes of packets written.", s.Bytes)
		gauge("packets_waiting", "Packets in the kernel's buffer, or waiting for older ones.", float64(s.InKernel))
		gauge("balanced", "1 while seen = filtered + delivered + dropped.", truth(s.Balanced()))
		gauge("interfaces", "Workloads that are told apart.", float64(s.Interfaces))
		gauge("processes", "Processes that are known.", float64(s.Processes))
		count("events_total", "Lines written to events files.", s.Events)
		count("events_lost_total", "Events left out, or lost.", s.EventsLost)
		gauge("clock_synchronized", "1 while the node's clock follows a reference.", truth(s.Clock.Synchronized))
		gauge("clock_max_error_seconds", "How far the node's clock may be off, as the kernel says.", float64(s.Clock.MaxError)/1e9)
		gauge("told_timestamp_seconds", "When the recording last told how it stands.", float64(s.at.UnixNano())/1e9)
	}
	a.collectParts(out)
	a.collectKeys(out)
	a.collectRing(out)
	if a.source != nil {
		collectKube(out, a.source.State())
	}
}

// collectParts says the same numbers by processor and by interface. Containers of a pod
// are one here, as their interfaces have one name.
func (a *agent) collectParts(out chan<- prometheus.Metric) {
	s := a.stats.Load()
	if s == nil {
		return
	}
	cpu := number(prometheus.CounterValue, "cpu_packets_total", "Packets that the programs in the kernel saw on a processor, and what became of them there.", "cpu", "fate")
	for i, c := range s.CPUs {
		for _, f := range []struct {
			fate string
			n    uint64
		}{{"seen", c.Seen}, {"filtered", c.Filtered}, {"delivered", c.Delivered}, {"ring buffer full", c.BufferFull}, {"kernel could not read it", c.Unread}, {"truncated", c.Truncated}} {
			out <- cpu.is(float64(f.n), strconv.Itoa(i), f.fate)
		}
	}
	byName := map[string]recorder.Part{}
	for _, p := range s.Parts {
		sum := byName[p.Name]
		sum.Delivered, sum.Lost = sum.Delivered+p.Delivered, sum.Lost+p.Lost
		byName[p.Name] = sum
	}
	delivered := number(prometheus.CounterValue, "interface_packets_delivered_total", "Packets written, by the interface of the recording: node/namespace/pod.", "interface")
	lost := number(prometheus.CounterValue, "interface_packets_lost_total", "Packets lost, by the interface of the recording.", "interface")
	for name, p := range byName {
		name = strings.ToValidUTF8(name, "\uFFFD")
		out <- delivered.is(float64(p.Delivered), name)
		out <- lost.is(float64(p.Lost), name)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func collectKube(out chan<- prometheus.Metric, s kube.State) {
	gauge := func(name, help string, v float64) { out <- number(prometheus.GaugeValue, name, help).is(v) }
	gauge("kubernetes_synced", "1 since this node's pods were listed.", truth(s.Synced))
	stale := number(prometheus.GaugeValue, "kubernetes_stale_timestamp_seconds", "Since when the API does not answer for a kind of objects; 0 while it does.", "feed")
	for _, f := range s.Feeds {
		at := 0.0
		if !f.Stale.IsZero() {
			at = float64(f.Stale.UnixNano()) / 1e9
		}
		out <- stale.is(at, f.Name)
	}
	gauge("kubernetes_pods", "Pods of this node.", float64(s.Pods))
	gauge("kubernetes_pods_gone", "Workloads that ended and are remembered.", float64(s.Gone))
	gauge("kubernetes_peers", "Addresses behind services that are known.", float64(s.Peers))
	gauge("kubernetes_services", "Services that are known.", float64(s.Services))
	out <- number(prometheus.CounterValue, "kubernetes_changes_lost_total", "Changes and events that found no room before the recording took them.").is(float64(s.Lost))
	out <- number(prometheus.CounterValue, "kubernetes_limited_total", "Objects left out, since there were too many.").is(float64(s.Limited))
}
