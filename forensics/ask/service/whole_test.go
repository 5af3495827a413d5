package service_test

import (
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/service"
)

// TestTimelineOfTheWholeCase counts the calls of steps of the whole recording, or of a part of it.
func TestTimelineOfTheWholeCase(t *testing.T) {
	c := asktest.Open(t, "shop.pcapng")
	for _, x := range []struct{ kfl, from string }{{"", ""}, {"http", ""}, {"dns", "2s"}, {"dns", "09:24:50"}} {
		in := service.TimelineIn{Scope: ask.Scope{KFL: x.kfl, From: x.from}}
		got := asktest.Must[*service.Timeline](t)(service.AskTimeline(ctx, c, in))
		from, err := ask.ReadTime(c, "from", x.from)
		if err != nil {
			t.Fatal(err)
		}
		count := func(kfl string) int64 {
			r, err := c.Query(ctx, forensics.Query{KFL: kfl, From: from, Count: true})
			if err != nil {
				t.Fatal(err)
			}
			return r.Rows[0][0].(int64)
		}
		all, failed := count(x.kfl), count("("+map[bool]string{true: "true", false: x.kfl}[x.kfl == ""]+") && failed")
		var sum, sumFailed int64
		for _, b := range got.Rate {
			sum, sumFailed = sum+b.In+b.Out, sumFailed+b.Failed
		}
		if got.Calls != all || sum != all || got.Failed != failed || sumFailed != failed || all == 0 {
			t.Errorf("%+v: %d calls, %d failed, steps %d and %d; want %d and %d", x, got.Calls, got.Failed, sum, sumFailed, all, failed)
		}
		if len(got.Rate) < 8 || len(got.Rate) > 25 || len(got.Who) != 0 || len(got.Listed) != 0 {
			t.Errorf("%+v: %d steps, who %q, %d calls are listed", x, len(got.Rate), got.Who, len(got.Listed))
		}
	}
	k8s := 0
	for _, e := range asktest.Must[*service.Timeline](t)(service.AskTimeline(ctx, c, service.TimelineIn{})).Events {
		if e.Kind == "k8s" {
			k8s++
		}
	}
	if k8s == 0 {
		t.Error("no event of Kubernetes")
	}
}
