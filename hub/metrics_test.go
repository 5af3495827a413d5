package hub

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/hub/control"
	"github.com/pcapsule/pcapsule/hub/resource"
)

// TestMetrics counts snapshots while this hub works, and none while another one does.
func TestMetrics(t *testing.T) {
	h := &hub{}
	read := func() string {
		w := httptest.NewRecorder()
		h.probes().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		return w.Body.String()
	}
	if text := read(); !strings.Contains(text, "\npcapsule_hub_leading 0\n") || strings.Contains(text, "pcapsule_hub_snapshots") {
		t.Errorf("a hub that waits: %s", text)
	}
	count := func() map[string]int { return map[string]int{resource.Ready: 3, resource.Lost: 1, control.AtRisk: 2} }
	h.phases.Store(&count)
	h.state.set(func(f *facts) { f.Leading, f.Ready = true, true })
	text := read()
	for _, want := range []string{`snapshots{phase="Ready"} 3`, `snapshots{phase="Lost"} 1`, `snapshots{phase="Failed"} 0`, "snapshots_at_risk 2", "leading 1", "ready 1"} {
		if !strings.Contains(text, "\npcapsule_hub_"+want+"\n") {
			t.Errorf("%s is missing: %s", want, text)
		}
	}
}
