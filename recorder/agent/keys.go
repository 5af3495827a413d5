package agent

import (
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pcapsule/pcapsule/recorder"
	"github.com/pcapsule/pcapsule/recorder/keys"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// collectKeys collects the metrics of TLS keys and plaintext, if they are read.
func (a *agent) collectKeys(out chan<- prometheus.Metric) {
	s := a.stats.Load()
	if s == nil || s.Keys == nil {
		return
	}
	k := s.Keys
	processes := number(prometheus.GaugeValue, "tls_processes", "Selected processes, including ended ones, by state of their TLS keys; for none with the reason.", "state", "reason")
	met := k.TLSProcesses()
	for _, state := range []keys.State{keys.Verified, keys.Unverified, keys.Plaintext} {
		if _, ok := met[recorder.TLSState{State: state}]; !ok {
			met[recorder.TLSState{State: state}] = 0 // a series that exists from the start can be monitored
		}
	}
	for at, n := range met {
		out <- processes.is(float64(n), at.State.String(), string(at.Reason))
	}
	fate := number(prometheus.CounterValue, "tls_keys_total", "Keys and objects with keys that probes found, by what became of them.", "fate")
	for name, n := range map[string]uint64{"written": k.Written, "repeated": k.Repeated, "unused": k.Unused, "ring buffer full": k.Lost,
		"memory not readable": k.Unread, "arguments not as expected": k.Odd, "not written": k.SinkErrors + k.Unplaced} {
		out <- fate.is(float64(n), name)
	}
	shakes := number(prometheus.CounterValue, "tls_handshakes_total", "Captured TLS handshakes by whether a key was read; without one, with the reason.", "key", "reason")
	out <- shakes.is(float64(k.Keyed), "yes", "")
	out <- shakes.is(float64(k.Uncounted), "unknown", "too_many")
	for reason, n := range k.Keyless {
		out <- shakes.is(float64(n), "no", string(reason))
	}
	p := k.Plaintext
	if p == nil {
		return
	}
	out <- number(prometheus.CounterValue, "plaintext_calls_total", "Calls of TLS libraries that passed or returned plaintext in selected processes.").is(float64(p.Calls))
	out <- number(prometheus.CounterValue, "plaintext_bytes_total", "Bytes of plaintext written.").is(float64(p.Bytes))
	out <- number(prometheus.CounterValue, "plaintext_cut_bytes_total", "Bytes of plaintext beyond the limit that is read per call.").is(float64(p.Cut))
	piece := number(prometheus.CounterValue, "plaintext_pieces_total", "Pieces of plaintext, by what became of them.", "fate")
	for name, n := range map[string]uint64{"seen": p.Seen, "delivered": p.Written - min(p.Forbidden, p.Written), "forbidden": p.Forbidden, "not chosen": p.Unused, "ring buffer full": p.Lost,
		"memory not readable": p.Unread, "results not as expected": p.Odd, "not written": p.SinkErrors} {
		out <- piece.is(float64(n), name)
	}
}

// logKeys logs the same numbers at the end, and why processes have no keys.
func (a *agent) logKeys(k *recorder.KeyStats) {
	if k == nil {
		return
	}
	states := map[keys.State]int{}
	for at, n := range k.TLSProcesses() {
		states[at.State] += n
	}
	a.o.Log.Info("keys", "written", k.Written, "lost", k.Lost+k.Unread+k.Odd+k.SinkErrors+k.Unplaced, "verified", states[keys.Verified], "unverified", states[keys.Unverified],
		"plaintext", states[keys.Plaintext], "none", states[keys.None])
	const most = 32
	logged := 0
	for _, p := range k.Processes {
		if p.State != keys.None || p.Reason == keys.NoTLS || p.Reason == keys.NoHandshake {
			continue
		}
		if logged++; logged > most {
			break
		}
		a.o.Log.Warn("a process has no keys", "pid", p.PID, "executable", p.Executable, "reason", string(p.Reason), "detail", p.Detail)
	}
	if p := k.Plaintext; p != nil {
		a.o.Log.Info("plaintext", "calls", p.Calls, "bytes", p.Bytes, "seen", p.Seen, "delivered", p.Written-min(p.Forbidden, p.Written), "dropped", p.Lost+p.Unread+p.Odd+p.SinkErrors,
			"forbidden", p.Forbidden, "not_chosen", p.Unused, "cut_bytes", p.Cut)
		if p.EndsUnknown != nil {
			a.o.Log.Warn("plaintext has no addresses", "error", p.EndsUnknown)
		}
	}
}

// warnKeys logs what reading costs, and if required names are not available.
func warnKeys(log *slog.Logger, k *recorder.Keys, cluster bool) {
	if k == nil {
		return
	}
	if len(k.PlaintextWorkloads) > 0 || !k.Plaintext.Empty() {
		log.Warn("reading plaintext: it delays each TLS read or write of the selected programs by about 20 to 40 µs")
	}
	needs := false
	for _, list := range [][]workload.Selector{k.Workloads, k.PlaintextWorkloads} {
		for i := range list {
			needs = needs || list[i].NeedsNames()
		}
	}
	if needs && !cluster {
		log.Warn("keys are selected by Kubernetes names, but Kubernetes is not used: only names from container runtimes are known")
	}
}
