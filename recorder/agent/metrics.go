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
	"github.com/pcapsule/pcapsule/recorder/pins"
)

// silence is the maximum time without statistics; a recording reports them every second.
const silence = 30 * time.Second

// health is the response of the probes.
type health struct {
	Recording bool          `json:"recording"` // packets are recorded
	Alive     bool          `json:"alive"`     // it reported statistics recently
	Ready     bool          `json:"ready"`     // it records and writes, and knows this node's pods or does not use Kubernetes
	Writing   bool          `json:"writing"`   // no packet was lost recently because it could not be written
	Balanced  bool          `json:"balanced"`  // seen = filtered + delivered + dropped
	Seen      uint64        `json:"seen"`
	Filtered  uint64        `json:"filtered"`
	Delivered uint64        `json:"delivered"`
	Dropped   uint64        `json:"dropped"`
	Kube      *healthOfKube `json:"kubernetes,omitempty"`
	Config    *pins.Config  `json:"config,omitempty"` // a RecorderConfig that cannot be applied makes no recorder unhealthy
}

type healthOfKube struct {
	Synced bool            `json:"synced"`
	Pods   int             `json:"pods"`
	Stale  map[string]gone `json:"stale,omitempty"` // feeds without a response
}

type gone struct {
	Since time.Time `json:"since"`
	Error string    `json:"error"`
}

func (a *agent) health() health {
	h := health{Recording: a.started.Load() != nil}
	if s := a.stats.Load(); s != nil {
		h.Alive = time.Since(s.at) < silence
		h.Writing = time.Since(s.unsaved) >= silence
		h.Balanced = s.Balanced()
		h.Seen, h.Filtered, h.Delivered, h.Dropped = s.Seen, s.Filtered, s.Delivered, s.Dropped
	} else {
		h.Alive = time.Since(a.began) < 2*silence // it is still starting
	}
	if a.config != nil {
		c := a.config.state()
		h.Config = &c
		h.Alive = h.Alive || !h.Recording && !c.Known // a restart would not help against an API that does not answer
	}
	h.Ready = h.Recording && h.Alive && (h.Writing || a.stats.Load() == nil)
	if source := a.source.Load(); source != nil {
		s := source.State()
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

// handler serves /metrics, /healthz and /readyz. An unavailable API does not make the recorder
// unhealthy: a restart would lose its knowledge, and packets.
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
			_ = e.Encode(h) // the client may have disconnected
		}
	}
	mux.Handle("GET /healthz", probe(func(h health) bool { return h.Alive }))
	mux.Handle("GET /readyz", probe(func(h health) bool { return h.Ready }))
	return mux
}

// metric is one number for Prometheus.
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

// Describe sends nothing, because the set of metrics depends on the traffic.
func (a *agent) Describe(chan<- *prometheus.Desc) {}

// Collect sends the current numbers.
func (a *agent) Collect(out chan<- prometheus.Metric) {
	count := func(name, help string, v uint64) { out <- number(prometheus.CounterValue, name, help).is(float64(v)) }
	gauge := func(name, help string, v float64) { out <- number(prometheus.GaugeValue, name, help).is(v) }
	out <- number(prometheus.GaugeValue, "info", "Program, node and Go version of this recorder; always 1.", "program", "node", "go").is(1, a.o.Record.Program, a.o.Record.Node, runtime.Version())
	if a.config != nil {
		c := a.config.state()
		gauge("config_generation", "Generation of the RecorderConfig in force; 0 without one.", float64(c.Applied))
		rejected := 0.0
		if c.Problem != "" {
			rejected = 1
		}
		gauge("config_rejected", "1 if the latest RecorderConfig cannot be applied, so that the one before stays in force.", rejected)
	}
	if source := a.certificate.Load(); source != nil {
		if p, err := (*source)(); err == nil && p.Certificate.Leaf != nil {
			gauge("certificate_expiry_timestamp_seconds", "End of the certificate for the hub, which is renewed before.", float64(p.Certificate.Leaf.NotAfter.Unix()))
		}
	}
	count("errors_total", "Errors that did not end the recording.", a.errors.Load())
	if s := a.stats.Load(); s != nil {
		count("packets_seen_total", "Packets that the kernel programs saw: filtered, delivered or dropped.", s.Seen)
		count("packets_filtered_total", "Packets excluded by the filter or policy, or because they are the recorder's own.", s.Filtered)
		count("packets_forbidden_total", "The part of the filtered packets that the policy forbids.", s.Policy)
		count("packets_delivered_total", "Packets written.", s.Delivered)
		dropped := number(prometheus.CounterValue, "packets_dropped_total", "Packets lost, by reason.", "reason")
		for _, d := range s.Drops {
			out <- dropped.is(float64(d.Packets), d.Reason)
		}
		count("packets_truncated_total", "Packets written with fewer bytes than they had.", s.Truncated)
		count("packets_late_total", "Packets that arrived too late to be ordered by time.", s.Late)
		count("captured_bytes_total", "Bytes of packets written.", s.Bytes)
		gauge("packets_waiting", "Packets in the kernel's buffer, or waiting for older ones.", float64(s.InKernel))
		gauge("balanced", "1 if seen = filtered + delivered + dropped.", truth(s.Balanced()))
		gauge("interfaces", "Interfaces of the recording, one for each workload.", float64(s.Interfaces))
		gauge("processes", "Known processes.", float64(s.Processes))
		count("events_total", "Lines written to events files.", s.Events)
		count("events_lost_total", "Events lost, including those over the rate limit.", s.EventsLost)
		gauge("clock_synchronized", "1 if the node's clock is synchronized.", truth(s.Clock.Synchronized))
		gauge("clock_max_error_seconds", "Maximum error of the node's clock, from the kernel.", float64(s.Clock.MaxError)/1e9)
		gauge("statistics_timestamp_seconds", "Time of the recording's last statistics.", float64(s.at.UnixNano())/1e9)
	}
	a.collectParts(out)
	a.collectKeys(out)
	a.collectRing(out)
	if source := a.source.Load(); source != nil {
		collectKube(out, source.State())
	}
}

// collectParts sends the same numbers by processor and by interface. Containers of a pod
// are added up, because their interfaces have the same name.
func (a *agent) collectParts(out chan<- prometheus.Metric) {
	s := a.stats.Load()
	if s == nil {
		return
	}
	cpu := number(prometheus.CounterValue, "cpu_packets_total", "Packets that the kernel programs saw, by processor and by what became of them.", "cpu", "fate")
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
	delivered := number(prometheus.CounterValue, "interface_packets_delivered_total", "Packets written, by interface of the recording: node/namespace/pod.", "interface")
	lost := number(prometheus.CounterValue, "interface_packets_lost_total", "Packets lost, by interface of the recording.", "interface")
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
	gauge("kubernetes_synced", "1 if this node's pods have been listed.", truth(s.Synced))
	stale := number(prometheus.GaugeValue, "kubernetes_stale_timestamp_seconds", "Time since which the API has not responded for a kind of object; 0 if it responds.", "feed")
	for _, f := range s.Feeds {
		at := 0.0
		if !f.Stale.IsZero() {
			at = float64(f.Stale.UnixNano()) / 1e9
		}
		out <- stale.is(at, f.Name)
	}
	gauge("kubernetes_pods", "Pods of this node.", float64(s.Pods))
	gauge("kubernetes_pods_gone", "Ended workloads that are remembered.", float64(s.Gone))
	gauge("kubernetes_peers", "Known addresses behind services.", float64(s.Peers))
	gauge("kubernetes_services", "Known services.", float64(s.Services))
	out <- number(prometheus.CounterValue, "kubernetes_changes_lost_total", "Changes and events lost because the recording did not read them in time.").is(float64(s.Lost))
	out <- number(prometheus.CounterValue, "kubernetes_limited_total", "Objects ignored because there were too many.").is(float64(s.Limited))
}
