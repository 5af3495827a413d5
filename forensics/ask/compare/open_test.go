package compare_test

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/compare"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// TestOpenConnectionsHaveNotVanished has a job that holds connections to a database and sends nothing while orders fail.
func TestOpenConnectionsHaveNotVanished(t *testing.T) {
	var w traffic.Capture
	traffic.Incidents()[0].Make(&w)
	in := compare.In{Scope: ask.Scope{From: "06:13:30", To: "06:14:12"}, BaselineFrom: "06:13:20", BaselineTo: "06:13:29.9"}
	a := asktest.Must[*compare.Answer](t)(compare.Ask(ctx, asktest.OpenMade(t, &w), in))
	for _, n := range a.Vanished {
		if n.Src == "10.0.0.7" {
			t.Errorf("%+v", n)
		}
	}
	if notes := strings.Join(a.Notes, "\n"); !strings.Contains(notes, "1 pair made no call in the period and has not vanished, because its connections stayed open: 10.0.0.7 to 10.0.0.5") {
		t.Errorf("%q, vanished: %+v", notes, a.Vanished)
	}
}
