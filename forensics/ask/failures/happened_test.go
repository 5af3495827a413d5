package failures_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/failures"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

func TestWhatHappened(t *testing.T) {
	for _, i := range traffic.Incidents() {
		var w traffic.Capture
		i.Make(&w)
		c := asktest.OpenMade(t, &w)
		f := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, c, failures.In{}))
		text := ""
		if f.Happened != nil {
			text = f.Happened.What
			for _, id := range f.Happened.CallIDs {
				if n := asktest.Matching(t, c, `call_id == "`+id+`"`); n != 1 {
					t.Errorf("%s: %d calls are the cited call %s", i.Name, n, id)
				}
			}
		}
		if text != "" && f.Matched != "some" {
			t.Errorf("%s: %s although something happened", i.Name, f.Matched)
		}
		if (text == "") != (i.Words == nil) {
			t.Errorf("%s: %q", i.Name, text)
		}
		for _, want := range i.Words {
			if !strings.Contains(text, want) {
				t.Errorf("%s: want %q in %q", i.Name, want, text)
			}
		}
		for _, not := range i.Not {
			if strings.Contains(text, not) {
				t.Errorf("%s: %q in %q", i.Name, not, text)
			}
		}
		o := asktest.Put(t, c, "get_overview", "{}")
		if all := fmt.Sprint(o["summary"]); text != "" && f.Total > 0 && !strings.Contains(all, text) {
			t.Errorf("%s: get_overview does not say it: %s", i.Name, all)
		}
	}
}

func TestUsersAreCountedApartFromHops(t *testing.T) {
	var w traffic.Capture
	traffic.Incidents()[0].Make(&w)
	f := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, asktest.OpenMade(t, &w), failures.In{}))
	h := f.Happened
	if h == nil || !h.Users || h.Failed != 35 || h.Of != 35 || f.Total != 70 || len(h.Holders) != 1 || h.Holders[0].Connections != 5 {
		got, _ := json.Marshal(h)
		t.Errorf("%d failed calls, %s", f.Total, got)
	}
}

// A sentence about the listed kinds of failures does not claim to count all.
func TestASentenceAboutSomeKinds(t *testing.T) {
	var w traffic.Capture
	for _, i := range traffic.Incidents() {
		if i.Name == "hung up" {
			i.Make(&w)
		}
	}
	f := asktest.Must[*failures.Answer](t)(failures.Ask(ctx, asktest.OpenMade(t, &w), failures.In{Scope: ask.Scope{Limit: 5}}))
	if want := "at least 9 of "; f.Happened == nil || !strings.Contains(f.Happened.What, want) || f.Total != 12 {
		t.Errorf("%d calls failed, want %q in %+v", f.Total, want, f.Happened)
	}
}
