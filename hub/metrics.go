package hub

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pcapsule/pcapsule/hub/control"
	"github.com/pcapsule/pcapsule/hub/resource"
)

// metrics serves the numbers of this hub. They name no snapshot, node or pod.
func (h *hub) metrics() http.Handler {
	all := prometheus.NewRegistry()
	all.MustRegister(h, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(all, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// Describe sends nothing, because only the working hub knows snapshots.
func (h *hub) Describe(chan<- *prometheus.Desc) {}

// Collect sends the current numbers.
func (h *hub) Collect(out chan<- prometheus.Metric) {
	gauge := func(name, help string, v float64, labels ...string) {
		var names []string
		if len(labels) > 0 {
			names = []string{"phase"}
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc("pcapsule_hub_"+name, help, names, nil), prometheus.GaugeValue, v, labels...)
	}
	f := h.state.get()
	truth := map[bool]float64{true: 1}
	gauge("leading", "1 if this hub works, and not another one.", truth[f.Leading])
	gauge("ready", "1 if this hub serves.", truth[f.Ready])
	count := h.phases.Load()
	if count == nil {
		return
	}
	phases := (*count)()
	gauge("snapshots_at_risk", "Ready snapshots whose bundles would be lost with the hub's pod, or are not in the store yet.", float64(phases[control.AtRisk]))
	for _, p := range []string{resource.Pending, resource.Collecting, resource.Bundling, resource.Ready, resource.Failed, resource.Lost} {
		gauge("snapshots", "Snapshots by phase.", float64(phases[p]), p)
	}
}
