package failures

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/chain"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
)

// Conditions of requests that became slower.
const (
	maxSlower   = 500_000 // calls that are compared
	leastSlower = 40      // calls to one endpoint
	slowerBy    = 3       // times
	slowerMs    = 100
	leastSlow   = 8   // slow calls
	leastOthers = 10  // calls outside the time in which they are slow
	slowShare   = 0.1 // of the calls in that time
	otherShare  = 0.2 // the share of slow calls outside it is at most this part of the one in it
	chance      = 8   // logarithm of the likelihood that shares are as different as they are, against equal ones
)

// episode is a time in which more calls to an endpoint were slow than outside it.
type episode struct {
	Dst      string   `json:"dst"`
	Protocol string   `json:"protocol"`
	Endpoint string   `json:"endpoint"`
	Limit    float64  `json:"slow_ms"` // slow calls took at least this long
	From     int64    `json:"begin"`
	To       int64    `json:"finish"`
	Calls    int64    `json:"calls"`
	Slow     int64    `json:"slow"`
	Others   int64    `json:"others"`
	Later    int64    `json:"later"` // of the others, those after it
	Odd      int64    `json:"odd"`   // of the others, the slow ones
	P50      float64  `json:"p50"`
	Rest     float64  `json:"rest"` // median of the others
	Low      float64  `json:"low"`  // of the slow ones
	High     float64  `json:"high"`
	Lost     float64  `json:"lost"` // time that the slow ones took, in excess of the usual
	Callers  []string `json:"callers"`
}

// took is the SQL for how long a call took with its connection, in milliseconds.
const took = "(" + terms.Took + " + coalesce(connect_us, 0)) / 1000.0"

// waits matches requests that wait for messages or locks by design.
const waits = `regexp_matches(endpoint, '(?i)^(bl?r?z?m?pop|blmove|brpoplpush|bl[rm]pop|xread|wait|subscribe|fetch|join_?group|receive|get[A-Z]*messages|pull|listen|read)')`

// episodes is SQL for the time of each endpoint in which its calls were slow. Slow is several times what nine of ten calls took in the
// best eighth. Each slow call adds a gain and each other one takes 1; the time is that with the highest sum, once for each gain: with 9,
// at least a tenth of its calls are slow, with 1, at least half.
func episodes(c *forensics.Case, where string) string {
	const of, by = "dst, protocol, endpoint", "dst, protocol, endpoint, gain"
	return `WITH q AS (SELECT ` + terms.Server + ` AS dst, ` + terms.Who("src_") + ` AS src, protocol, endpoint, ts_ns, call_id, ` + took + ` AS took FROM calls WHERE ` + where + " AND " + terms.RequestIn(c) + ` AND NOT failed AND NOT ` + waits + `),
		t AS (SELECT *, ntile(8) OVER (PARTITION BY ` + of + ` ORDER BY ts_ns, call_id) AS part FROM q WHERE took IS NOT NULL QUALIFY count(*) OVER (PARTITION BY ` + of + `) >= ?),
		b AS (SELECT ` + of + `, min(p) AS base FROM (SELECT ` + of + `, part, quantile_disc(took, 0.9) AS p FROM t GROUP BY ALL) GROUP BY ALL),
		s AS (SELECT t.*, greatest(?::DOUBLE * base, base + ?) AS slow_ms, took >= slow_ms AS slow FROM t JOIN b USING (` + of + `) QUALIFY count(*) FILTER (took >= greatest(?::DOUBLE * base, base + ?)) OVER (PARTITION BY ` + of + `) >= ?),
		v AS (SELECT s.*, gain, CASE WHEN slow THEN gain ELSE -1 END AS weight FROM s, (SELECT unnest([9, 1]) AS gain)),
		w AS (SELECT *, sum(weight) OVER (PARTITION BY ` + by + ` ORDER BY ts_ns, call_id ROWS UNBOUNDED PRECEDING) AS total FROM v),
		m AS (SELECT *, min(total - weight) OVER (PARTITION BY ` + by + ` ORDER BY ts_ns, call_id ROWS UNBOUNDED PRECEDING) AS least FROM w),
		e AS (SELECT ` + by + `, arg_max(ts_ns, (total - least, -ts_ns)) AS finish, arg_max(least, (total - least, -ts_ns, least)) AS least FROM m WHERE slow GROUP BY ALL),
		f AS (SELECT ` + by + `, any_value(finish) AS finish, max(ts_ns) AS begin FROM (SELECT * EXCLUDE (least) FROM m) m JOIN e USING (` + by + `) WHERE slow AND ts_ns <= finish AND total - weight = e.least GROUP BY ALL)
		SELECT ` + of + `, any_value(slow_ms) AS slow_ms, any_value(begin) AS begin, any_value(finish) AS finish, count(*) FILTER (inside) AS calls, count(*) FILTER (inside AND slow) AS slow,
			count(*) FILTER (NOT inside) AS others, count(*) FILTER (ts_ns > finish) AS later, count(*) FILTER (NOT inside AND slow) AS odd, coalesce(median(took) FILTER (inside), 0) AS p50, coalesce(median(took) FILTER (NOT inside), 0) AS rest,
			coalesce(min(took) FILTER (inside AND slow), 0) AS low, coalesce(max(took) FILTER (inside), 0) AS high, coalesce(sum(took - slow_ms) FILTER (inside AND slow), 0)::DOUBLE AS lost, list_sort(list(DISTINCT src)) AS callers
		FROM (SELECT s.*, gain, begin, finish, ts_ns BETWEEN begin AND finish AS inside FROM s JOIN f USING (` + of + `)) GROUP BY ` + by + ` ORDER BY lost DESC, ` + by
}

// slower finds the endpoint whose callers lost most time because its calls became slower in a part of the time.
func slower(ctx context.Context, c *forensics.Case, all *ask.Window) (*Happened, error) {
	list, _, err := ask.Rows[episode](ctx, c, ask.MaxRows, episodes(c, all.Where), all.Values(leastSlower, slowerBy, slowerMs, slowerBy, slowerMs, leastSlow)...)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(e episode) bool {
		return !e.sure() || slices.ContainsFunc(list, func(x episode) bool {
			return x.Dst == e.Dst && x.Protocol == e.Protocol && x.Endpoint == e.Endpoint && x.sure() && x.likelihood() > e.likelihood()
		})
	})
	if len(list) == 0 {
		return nil, nil
	}
	e := outermost(list)
	h := &Happened{from: e.From, to: e.To, From: when.Stamp(e.From), To: when.Stamp(e.To), Of: e.Calls, Service: e.Dst}
	what := requestWords(&FailureGroup{Protocol: e.Protocol}, []string{e.Endpoint}, []string{e.Dst})
	h.What = h.span()
	if e.P50 >= slowerBy*e.Rest && e.P50-e.Rest >= slowerMs {
		before := "before"
		if e.Later >= leastOthers {
			before = "before and after"
		}
		odd := ""
		if e.Odd > 0 {
			odd = "; outside that time, " + plural.Sprintf("%d of %d were as slow", e.Odd, e.Others)
		}
		h.What += plural.Count(e.Calls, what[0], what[1]) + " took longer than " + before + ": the median went from " + millis(e.Rest) + " to " + millis(e.P50) + ", up to " + millis(e.High) + odd
	} else {
		h.What += plural.Thousands(e.Slow) + " of " + plural.Count(e.Calls, what[0], what[1]) + " were slow: they took " + millis(e.Low) + " to " + millis(e.High) + ". Outside that time " + plural.Sprintf("%d of %d took so long", e.Odd, e.Others) + ", with a median of " + millis(e.Rest)
	}
	h.What += "."
	return h, h.slowest(ctx, c, all, e)
}

// outermost returns the first episode, or one at the server that made its calls: callers of that one had to wait, too.
func outermost(list []episode) *episode {
	e := &list[0]
	for range list {
		i := slices.IndexFunc(list, func(x episode) bool {
			return x.Dst != e.Dst && slices.Contains(e.Callers, x.Dst) && x.From <= e.To && e.From <= x.To
		})
		if i < 0 {
			break
		}
		e = &list[i]
	}
	return e
}

func millis(ms float64) string { return chain.LengthOf(int64(ms * 1e6)) }

// sure reports whether the calls in the time are slow more often than by chance.
func (e *episode) sure() bool {
	in, out := float64(e.Slow)/float64(max(e.Calls, 1)), float64(e.Odd)/float64(max(e.Others, 1))
	return e.Slow >= leastSlow && e.Others >= leastOthers && in >= slowShare && out <= otherShare*in && e.likelihood() >= chance
}

// likelihood is the logarithm of how much more likely the numbers of slow calls are with two shares than with one.
func (e *episode) likelihood() float64 {
	likely := func(k, n int64) (sum float64) {
		for _, x := range [2]int64{k, n - k} {
			if x > 0 {
				sum += float64(x) * math.Log(float64(x)/float64(n))
			}
		}
		return sum
	}
	return likely(e.Slow, e.Calls) + likely(e.Odd, e.Others) - likely(e.Slow+e.Odd, e.Calls+e.Others)
}

// slowest follows some of the slow calls and says what they waited for.
func (h *Happened) slowest(ctx context.Context, c *forensics.Case, all *ask.Window, e *episode) error {
	rows, _, err := ask.Rows[struct {
		Bundle int64  `json:"bundle"`
		No     int64  `json:"call_no"`
		ID     string `json:"id"`
	}](ctx, c, maxExamined, "SELECT "+terms.BundleOf(c, "")+", call_no, lower(hex(call_id)) AS id FROM (SELECT *, row_number() OVER (ORDER BY ts_ns, call_id) AS nth, count(*) OVER () AS total FROM calls WHERE "+all.Where+" AND NOT failed AND "+terms.Server+" = ? AND protocol = ? AND endpoint = ? AND ts_ns BETWEEN ? AND ? AND "+took+" >= ?) WHERE (nth - 1) % ((total - 1) // "+fmt.Sprint(maxExamined)+" + 1) = 0 ORDER BY ts_ns, call_id",
		all.Values(e.Dst, e.Protocol, e.Endpoint, e.From, e.To, e.Limit)...)
	if err != nil {
		return err
	}
	var keys []ask.Key
	for _, r := range rows {
		keys = append(keys, ask.Key{Bundle: r.Bundle, No: r.No})
		if len(h.CallIDs) < 3 {
			h.CallIDs = append(h.CallIDs, r.ID)
		}
	}
	k, err := chain.New(ctx, c)
	if err != nil {
		return err
	}
	seeds, err := k.Load(keys)
	if err != nil || len(seeds) == 0 {
		return err
	}
	children, _, err := k.Below(seeds, chain.MaxLevels, chain.MaxNodes, nil)
	if err != nil {
		return err
	}
	steps := slices.Clone(seeds)
	for _, list := range children {
		steps = append(steps, list...)
	}
	if err := k.LoadDetails(steps); err != nil {
		return err
	}
	waits := make([]chain.Wait, len(seeds))
	for i, s := range seeds {
		waits[i] = chain.WaitOf(s, children)
	}
	resent, err := stalls(ctx, c, steps)
	if err != nil {
		return err
	}
	h.What += whereWords(seeds, waits, resent)
	return nil
}

// reason is what some slow calls have in common.
type reason struct {
	words      string
	calls      int
	most       int // calls below one of them
	confidence float64
	longest    int64 // ns
	tell       func(r *reason) string
}

// whereWords say what the followed calls spent their time with, the most frequent reason only.
func whereWords(seeds []*chain.Step, waits []chain.Wait, resent map[link][]stall) string {
	var list []reason
	count := func(key string, confidence float64, ns int64, n int, tell func(*reason) string) {
		i := slices.IndexFunc(list, func(r reason) bool { return r.words == key })
		if i < 0 {
			i = len(list)
			list = append(list, reason{words: key, confidence: confidence, tell: tell})
		}
		r := &list[i]
		r.calls, r.most, r.confidence, r.longest = r.calls+1, max(r.most, n), min(r.confidence, confidence), max(r.longest, ns)
	}
	for i, s := range seeds {
		w := &waits[i]
		if a, b, full, ns := lostIn(s, w, resent); full {
			count("full "+a+separator+b, 0.8*w.Confidence, ns, 1, func(r *reason) string {
				return a + stoppedReading + b + " sent: its receive window was zero for up to " + chain.LengthOf(r.longest)
			})
		} else if ns > 0 {
			count("network "+a+separator+b, 0.8*w.Confidence, ns, 1, func(r *reason) string {
				return "packets between " + a + " and " + b + " were lost: waiting until they were sent again took up to " + chain.LengthOf(r.longest)
			})
		} else if len(w.For) > 0 {
			first := w.For[0]
			ns, unanswered := int64(0), true
			for _, c := range w.For {
				ns, unanswered = max(ns, min(c.End, s.End)-c.Start), unanswered && c.Unanswered()
			}
			what := strings.TrimPrefix(chain.EndpointOf(first), "dns ")
			count(fmt.Sprint(first.Dst.Who, separator, first.Protocol, separator, what, separator, unanswered), w.Confidence, ns, len(w.For), func(r *reason) string {
				who := at(first.Protocol, first.Dst.Who)
				switch {
				case first.Protocol == "dns" && unanswered:
					return who + " did not answer look-ups of " + what
				case first.Protocol == "dns":
					return who + " took up to " + chain.LengthOf(r.longest) + " to answer look-ups of " + what
				case unanswered:
					return who + " did not answer " + what + " within " + chain.LengthOf(r.longest)
				case r.most > 1:
					return who + " was asked up to " + plural.Thousands(int64(r.most)) + " times for each: " + what + " took up to " + chain.LengthOf(r.longest)
				}
				return who + " took up to " + chain.LengthOf(r.longest) + " to answer " + what
			})
		}
	}
	if len(list) == 0 {
		return ""
	}
	slices.SortStableFunc(list, func(a, b reason) int { return cmp.Compare(b.calls, a.calls) })
	r := &list[0]
	if r.calls*2 < len(seeds) {
		return ""
	}
	how := map[string]string{"exact": "because ", "likely": "likely because ", "guess": "possibly because "}[chain.Sure(r.confidence)]
	if r.calls == len(seeds) {
		return " That was " + how + r.tell(r) + "."
	}
	return fmt.Sprintf(" In %d of %d that were followed, that was %s%s.", r.calls, len(seeds), how, r.tell(r))
}

// link is a connection in a bundle.
type link struct{ bundle, conn int64 }

// stall is a segment that was sent again, and the silence before it, or the end of a time in which a receiver took nothing.
type stall struct {
	at, ns int64
	syn    bool
	full   string // the receiver: client or server
}

// stalls reads the stalls of the connections of calls.
func stalls(ctx context.Context, c *forensics.Case, steps []*chain.Step) (map[link][]stall, error) {
	var keys []ask.Key
	for _, s := range steps {
		keys = append(keys, ask.Key{Bundle: s.Bundle, No: s.ConnID})
	}
	_, conns := ask.Split(keys)
	rows, _, err := ask.Rows[struct {
		Bundle int64 `json:"bundle"`
		Conn   int64 `json:"conn_id"`
		At     int64 `json:"ts_ns"`
		Ns     int64 `json:"ns"`
		SYN    bool  `json:"syn"`
	}](ctx, c, ask.MaxRows, "WITH f AS (SELECT "+terms.BundleOf(c, "")+", flow_id, conn_id FROM flows_raw WHERE transport = 'tcp' AND retransmissions > 0 AND conn_id IN (SELECT no FROM "+terms.Zip("no")+")), p AS (SELECT f.bundle, f.conn_id, k.ts_ns, k.flags, k.ts_ns - lag(k.ts_ns) OVER (PARTITION BY f.bundle, k.flow_id ORDER BY k.packet_no) AS ns FROM packets_raw k JOIN f ON f.flow_id = k.flow_id"+terms.SameBundle(c, "f", "k")+") SELECT bundle, conn_id, ts_ns, ns, flags & 2 <> 0 AS syn FROM p WHERE flags & 512 <> 0 AND ns > 0 ORDER BY 1, 2, 3, 4", conns)
	out := map[link][]stall{}
	for _, r := range rows {
		k := link{r.Bundle, r.Conn}
		out[k] = append(out[k], stall{r.At, r.Ns, r.SYN, ""})
	}
	if err != nil {
		return nil, err
	}
	list, _, err := ask.Rows[closed](ctx, c, ask.MaxRows, fullSQL(c, "l.conn_id IN (SELECT no FROM "+terms.Zip("no")+")")+" ORDER BY bundle, conn_id, at_ns, side", conns)
	for _, r := range list {
		k := link{r.Bundle, r.Conn}
		out[k] = append(out[k], stall{at: r.At + r.Ns, ns: r.Ns, full: r.Side})
	}
	return out, err
}

// lostIn returns the two hosts between which the network lost at least half of the time of a call, and how much, by its own
// connection and those of the calls below it. ns is 0 if it lost less. If full, no packet was lost: a did not read what b sent.
func lostIn(s *chain.Step, w *chain.Wait, resent map[link][]stall) (a, b string, full bool, ns int64) {
	type pair struct {
		a, b string
		full bool
	}
	until := map[pair]int64{} // up to which time stalls were counted
	sums := map[pair]int64{}
	seen := map[link]bool{}
	whole := s.End - s.Start
	for _, x := range append([]*chain.Step{s}, w.Under...) { // in order of time at each level
		k := link{x.Bundle, x.ConnID}
		if seen[k] {
			continue
		}
		seen[k] = true
		for _, e := range resent[k] {
			p := pair{x.Src.Who, x.Dst.Who, e.full != ""}
			if e.full == "server" {
				p.a, p.b = p.b, p.a
			}
			lost := min(e.at, s.End) - max(e.at-e.ns, s.Start, until[p])
			if x == s && e.syn && e.at <= s.Start {
				lost, whole = e.ns, whole+e.ns
			}
			if lost <= 0 {
				continue
			}
			until[p] = max(until[p], e.at)
			sums[p] += lost
			if sums[p] > ns || sums[p] == ns && p.full { // probes of a zero window are sent again, too
				a, b, full, ns = p.a, p.b, p.full, sums[p]
			}
		}
	}
	if ns*2 < whole {
		return "", "", false, 0
	}
	return a, b, full, ns
}
