package byid

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

type sink struct{}

func (*sink) Call(dissect.Emission)                {}
func (*sink) Anomaly(*dissect.Conn, table.Anomaly) {}

func TestTable(t *testing.T) {
	e, err := dissect.NewEngine(nil, nil, &sink{}, true)
	if err != nil {
		t.Fatal(err)
	}
	var emitted []string
	b := Table[int, string]{Conn: e.NewConn(dissect.Info{ConnectUs: -1}), Emit: func(c, why string) { emitted = append(emitted, c+" "+why) }}
	for i := range 5 {
		b.Put(i, fmt.Sprintf("call%d", i), 100)
	}
	if c, ok := b.Take(1); !ok || c != "call1" {
		t.Errorf("took %q, %v", c, ok)
	}
	if _, ok := b.Take(1); ok || b.Len() != 4 {
		t.Errorf("taken twice, or %d are left", b.Len())
	}
	b.Put(2, "again", 100) // the first one can no longer be answered
	b.Shed()
	b.Resync(dissect.ToServer, dissect.LossGap)
	if b.Lost() {
		t.Error("a gap in requests loses no responses")
	}
	b.Resync(dissect.ToClient, dissect.LossGap)
	b.Put(9, "later", 100)
	if c, ok := b.Get(4); !ok || c != "call4" || !b.Lost() {
		t.Errorf("got %q, %v, lost %v", c, ok, b.Lost())
	}
	b.Close(dissect.EndFin)
	want := "call2 no_response, call0 cut, call3 gap, call4 gap, again gap, later no_response"
	if got := strings.Join(emitted, ", "); got != want || e.Held() != 0 || b.Len() != 0 {
		t.Errorf("got %s\nwant %s; %d held", got, want, e.Held())
	}
}

// TestOnlyEarlierRequestsMayLackTheirResponse: a gap in responses says nothing of requests that came after it.
func TestOnlyEarlierRequestsMayLackTheirResponse(t *testing.T) {
	e, err := dissect.NewEngine(nil, nil, &sink{}, true)
	if err != nil {
		t.Fatal(err)
	}
	b := Table[int, string]{Conn: e.NewConn(dissect.Info{ConnectUs: -1}), Emit: func(string, string) {}}
	b.Put(1, "before", 100)
	b.Resync(dissect.ToClient, dissect.LossGap)
	b.Put(2, "after", 100)
	if !b.MayBeLost(1) || b.MayBeLost(2) || b.MayBeLost(3) || !b.Lost() {
		t.Errorf("may be lost: 1 %v, 2 %v, 3 %v; any %v", b.MayBeLost(1), b.MayBeLost(2), b.MayBeLost(3), b.Lost())
	}
	b.Take(1)
	if b.Lost() {
		t.Error("the only request came after the gap")
	}
}

// TestLostResponseBeforeAReset has requests whose connection is reset: a response that may have been lost is not missing.
func TestLostResponseBeforeAReset(t *testing.T) {
	e, err := dissect.NewEngine(nil, nil, &sink{}, true)
	if err != nil {
		t.Fatal(err)
	}
	for end, want := range map[dissect.End]string{dissect.EndReset: "before gap, after reset", dissect.EndTimeout: "before gap, after timeout", dissect.EndCapture: "before cut, after cut"} {
		var emitted []string
		b := Table[int, string]{Conn: e.NewConn(dissect.Info{ConnectUs: -1}), Emit: func(c, why string) { emitted = append(emitted, c+" "+why) }}
		b.Put(1, "before", 100)
		b.Resync(dissect.ToClient, dissect.LossGap)
		b.Put(2, "after", 100)
		b.Close(end)
		if got := strings.Join(emitted, ", "); got != want {
			t.Errorf("%v: got %s, want %s", end, got, want)
		}
	}
}
