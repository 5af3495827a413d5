package compare

import (
	"strings"
	"testing"
)

func TestVerdictCountsNews(t *testing.T) {
	o := &Answer{New: []News{{Kind: "dependency"}, {Kind: "dependency"}, {Kind: "status"}}, Vanished: []News{{Kind: "status"}, {Kind: "status"}, {Kind: "endpoint"}}}
	o.Period.Calls, o.Baseline.Calls = 1, 1
	of := sample{calls: [2]int64{1, 1}}
	list := []Change{{Calls: of.calls, of: of, Errors: of.errors(), Volume: of.volume([2]float64{1, 1})}}
	judge(list)
	o.Total = &list[0]
	o.writeVerdict(nil, nil, nil)
	text := strings.Join(o.Verdict, " ")
	if want := "No endpoint has calls in both windows, so none can be compared. New: 2 dependencies, 1 status. Vanished: 1 endpoint, 2 statuses."; !strings.HasSuffix(text, want) {
		t.Errorf("%q, want %q", text, want)
	}
}

// TestVolumeWithFewCalls has a volume that rises three hundred times, and one that rises three times by a few calls.
func TestVolumeWithFewCalls(t *testing.T) {
	for _, row := range []struct {
		calls [2]int64
		want  string
	}{{[2]int64{3, 900}, changed}, {[2]int64{3, 9}, tooFew}, {[2]int64{1000, 1010}, noChange}, {[2]int64{1000, 1600}, changed}} {
		of := sample{calls: row.calls}
		if e := of.volume([2]float64{1, 1}); e.State != row.want {
			t.Errorf("%v: %+v", row.calls, e)
		}
	}
}
