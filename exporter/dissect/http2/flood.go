package http2

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

// floods are frames that make their receiver work although they carry nothing, with how many of them within a second
// are a flood (CVE-2019-9512 to 9518). A client of gRPC measures the path with one PING for each round trip, so near
// hosts exchange hundreds.
var floods = [...]struct {
	what, cve string
	most      int64
	is        func(f frame) bool
}{
	{"PING", "CVE-2019-9512", 2000, func(f frame) bool { return f.typ == framePing && !f.has(flagAck) }},
	{"PRIORITY", "CVE-2019-9513", 1000, func(f frame) bool { return f.typ == framePriority }},
	{"SETTINGS", "CVE-2019-9515", 100, func(f frame) bool { return f.typ == frameSettings && !f.has(flagAck) }},
	{"empty DATA, HEADERS or CONTINUATION", "CVE-2019-9518", 1000, func(f frame) bool {
		return f.size == 0 && (f.typ == frameData && !f.has(flagEndStream) || (f.typ == frameHeaders || f.typ == frameContinuation) && !f.has(flagEndHeaders))
	}},
}

// flood counts such frames of a side.
type flood struct {
	next int64 // stream offset behind the frame that was counted last
	of   [len(floods)]struct {
		n, since int64
		told     bool
	}
}

// count counts the frame at in.Data[n:] once, however often it is looked at before it is complete.
func (x *flood) count(c *dissect.Conn, in *dissect.Input, n int, f frame) {
	at := in.Offset(n)
	if at < x.next {
		return
	}
	x.next = at + 1
	for i := range floods {
		if !floods[i].is(f) {
			continue
		}
		k := &x.of[i]
		now := in.Time(n)
		if now-k.since > 1e9 || now < k.since {
			k.n, k.since = 0, now
		}
		if k.n++; k.n == floods[i].most && !k.told {
			k.told = true
			sender := [2]string{dissect.ToServer: "client", dissect.ToClient: "server"}[in.Dir]
			c.Anomaly("flood", fmt.Sprintf("the %s sent %d %s frames within a second (%s)", sender, k.n, floods[i].what, floods[i].cve), 0)
		}
	}
}
