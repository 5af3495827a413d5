package patterns

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/relation"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/when"
)

// enoughRetries is the number of retries from which their pauses show a backoff for sure.
const enoughRetries = 4

// enoughChains is the number of requests without an id from which an equal number of retries is no chance.
const enoughChains = 3

// maxChains is the highest number of calls with retries in one answer.
const maxChains = 20_000

// chain is one call with its retries, as SQL returns it.
type chain struct {
	Src string `json:"src"`
	ask.Target
	Sure    bool     `json:"sure"`
	Failed  bool     `json:"last_failed"`
	Starts  []int64  `json:"starts"`
	Pauses  []int64  `json:"pauses"`
	CallIDs []string `json:"call_ids"`
}

// chains reads every failed call with its retries.
//
// Calls belong together if they have the same relation.Request. Calls without an id are matched by
// body. Calls without a body are ignored if the same call also follows successes: that client polls.
func (l *finder) chains(ctx context.Context) ([]chain, error) {
	if l.chained {
		return l.retried, nil
	}
	w := l.k
	sql := w.Ends(l.c, "service") + fmt.Sprintf(`, bad AS MATERIALIZED (SELECT DISTINCT %[1]s AS h FROM x WHERE protocol IN %[2]s AND %[3]s),
		m AS (SELECT an, bn, far, protocol, method, path, endpoint, host, failed, call_id, request_body_size, `+relation.Compared(relation.Request, "call_id")+`, `+relation.Identity+` AS id FROM x WHERE protocol IN %[2]s AND %[1]s IN (SELECT h FROM bad)),
		n AS (SELECT *, retry AS follows, ts_ns - prior_done BETWEEN -1000000 AND %[4]d AS near FROM (`+relation.Repeats("m")+`)),
		q AS (SELECT h, count(*) FILTER (near AND NOT prior_bad) AS polled, count(*) FILTER (follows) AS tried FROM n GROUP BY 1),
		s AS (SELECT n.*, sum(CASE WHEN follows THEN 0 ELSE 1 END) OVER (PARTITION BY n.h ORDER BY ts_ns, call_id) AS chain FROM n JOIN q ON q.h = n.h WHERE id IS NOT NULL OR request_body_size > 0 OR polled * 2 < tried),
		g AS (SELECT h, chain, any_value(an) AS an, any_value(bn) AS bn, any_value(far) AS far, bool_or(`+terms.Asked+`) AS asked, any_value(protocol) AS protocol, any_value(method) AS method, any_value(path) AS path, any_value(endpoint) AS endpoint,
			bool_and(id IS NOT NULL) AS sure, arg_max(failed, (ts_ns, call_id)) AS last_failed, min(ts_ns) AS first_ns, list(ts_ns ORDER BY ts_ns, call_id) AS starts,
			list(greatest(ts_ns - prior_done, 0) ORDER BY ts_ns, call_id)[2:] AS pauses, list_transform(list(call_id ORDER BY ts_ns, call_id)[1:10], i -> lower(hex(i))) AS call_ids FROM s GROUP BY h, chain HAVING count(*) > 1)
		SELECT src, coalesce(nullif(far, ''), dst) AS dst, dname.pb AS pb, asked, protocol, coalesce(method, '') AS method, %[5]s AS tpl, sure, last_failed, starts, pauses, call_ids
		FROM g JOIN sname USING (an) JOIN dname USING (bn) ORDER BY first_ns, call_ids`,
		relation.Request, terms.Serving, relation.Retryable, int64(relation.MaxPauseNs), terms.PathTemplate)
	rows, more, err := ask.Rows[chain](ctx, l.c, maxChains, sql, w.Args...)
	if more {
		l.f.Truncated = true
		l.note(fmt.Sprintf("only the first %d calls with retries were examined", maxChains))
	}
	l.retried, l.chained = rows, err == nil
	return rows, err
}

// retries describes the retries of each client and endpoint.
func (l *finder) retries(ctx context.Context) ([]Pattern, error) {
	chains, err := l.chains(ctx)
	if err != nil {
		return nil, err
	}
	by := map[string][]chain{}
	var order []string
	for _, ch := range chains {
		k := strings.Join([]string{ch.Src, ch.Dst, ch.Protocol, ch.Method, ch.Path}, "\x00")
		if by[k] == nil {
			order = append(order, k)
		}
		by[k] = append(by[k], ch)
	}
	var out []Pattern
	for _, k := range order {
		out = append(out, l.retry(by[k]))
	}
	return out, nil
}

// retry describes the chains of one client and endpoint.
func (l *finder) retry(list []chain) Pattern {
	first := list[0]
	p := Pattern{Kind: "retries", Src: first.Src, Dst: first.Dst, Endpoint: ask.Clip(terms.EndpointName(first.Protocol, first.Method, first.Path), 200), Confidence: "exact",
		How: "same client pod, server, method, path, query, body and Idempotency-Key, request or trace id, begun after the previous one had failed", CallIDs: first.CallIDs}
	p.KFL = l.kfl(first.Src, first.Dst, first.Pb, first.Asked) + " and " + terms.EndpointKFL(first.Protocol, first.Method, first.Path)
	times := map[int]int64{} // retries → chains
	gaveUp := map[int]int64{}
	var lost, retries int64
	best := first
	for _, ch := range list {
		n := len(ch.Starts) - 1
		times[n]++
		retries += int64(n)
		if ch.Failed {
			lost++
			gaveUp[n]++
		}
		if !ch.Sure {
			p.Confidence, p.How = "likely", "same client pod, server, method, path, query and body, begun after the previous one had failed; the requests carry no id"
		}
		if len(ch.Starts) > len(best.Starts) {
			best = ch
		}
	}
	p.Count, p.CallIDs = retries, best.CallIDs
	pauses := medians(list)
	shape, factor, jitter := backoff(pauses, list)
	p.Shape = shape
	p.Numbers = []Number{{"requests_retried", float64(len(list))}, {"retries", float64(retries)}, {"gave_up_failed", float64(lost)}, {"succeeded_in_the_end", float64(int64(len(list)) - lost)}}
	low, high := math.MaxInt, 0
	for n := range times {
		low, high = min(low, n), max(high, n)
	}
	p.Numbers = append(p.Numbers, Number{"min_retries", float64(low)}, Number{"max_retries", float64(high)})
	for i, ms := range pauses {
		if i < 8 {
			p.Numbers = append(p.Numbers, Number{fmt.Sprintf("pause_%d_ms", i+1), ms})
		}
	}
	if shape == "exponential" {
		p.Numbers = append(p.Numbers, Number{"factor", factor})
	}
	p.Numbers = append(p.Numbers, Number{"jitter", jitter})
	exactly := fmt.Sprintf("%d to %d times", low, high)
	if low == high {
		exactly = plural.Sprintf("%d {time|times} each", low)
	}
	if len(gaveUp) == 1 && lost > 0 {
		for n := range gaveUp {
			if p.Confidence == "exact" || len(list) >= enoughChains {
				exactly = plural.Sprintf("exactly %d {time|times} before it gives up", n)
			}
			p.Numbers = append(p.Numbers, Number{"exactly", float64(n)})
		}
	}
	p.Problem = lost > 0
	p.Words = plural.Sprintf("%s repeats %s at %s %s (%d {request|requests}, %d failed in the end), %s.", p.Src, p.Endpoint, p.Dst, exactly, len(list), lost, pauseWords(shape, pauses, factor))
	if p.Confidence != "exact" {
		p.Words += " Without ids, some may be other requests that are equal."
	}
	if shape != "none" && retries < enoughRetries {
		p.Words += " These are too few pauses to be sure of a backoff."
	}
	return p
}

func pauseWords(shape string, pauses []float64, factor float64) string {
	var list []string
	for i, ms := range pauses {
		if i == 8 {
			list = append(list, "…")
			break
		}
		list = append(list, plural.Digits(ms, 4))
	}
	text := "pauses of " + strings.Join(list, ", ") + " ms"
	switch shape {
	case "exponential":
		return fmt.Sprintf("%s: exponential backoff, each %s times the previous one", text, plural.Digits(factor, 2))
	case "constant", "linear":
		return text + ": " + shape
	case "irregular":
		return text + ": irregular"
	}
	return text
}

// medians returns the median pauses before the first, second … retry, in milliseconds, each over
// the chains that have this retry.
func medians(list []chain) []float64 {
	var out []float64
	for i := 0; ; i++ {
		var at []int64
		for _, ch := range list {
			if i < len(ch.Pauses) {
				at = append(at, ch.Pauses[i])
			}
		}
		if len(at) == 0 {
			return out
		}
		slices.Sort(at)
		out = append(out, ask.Round(float64(at[(len(at)-1)/2])/1e6))
	}
}

// backoff fits a shape to pauses: constant if all are within a quarter of their mean, exponential
// if each is the previous one times a factor of at least 1.4, linear if they grow by the same
// amount. jitter is the mean relative difference between a pause and the median at its position.
func backoff(pauses []float64, list []chain) (shape string, factor, jitter float64) {
	var far, n float64
	for _, ch := range list {
		for i, p := range ch.Pauses {
			if pauses[i] > 0 {
				far += math.Abs(float64(p)/1e6-pauses[i]) / pauses[i]
				n++
			}
		}
	}
	if n > 0 {
		jitter = ask.Round(far / n)
	}
	if len(pauses) < 2 {
		return "none", 0, jitter
	}
	mean := 0.0
	for _, p := range pauses {
		mean += p / float64(len(pauses))
	}
	same := true
	for _, p := range pauses {
		same = same && math.Abs(p-mean) <= 0.25*mean
	}
	if same {
		return "constant", 1, jitter
	}
	// One factor from the first to the last pause; each step must be near it. Pauses often
	// have a ceiling and stay constant after reaching it.
	grow := pauses
	for len(grow) > 3 && math.Abs(grow[len(grow)-1]-grow[len(grow)-2]) <= 0.1*grow[len(grow)-1] {
		grow = grow[:len(grow)-1]
	}
	steps := float64(len(grow) - 1)
	if grow[0] <= 0 {
		return "irregular", 0, jitter
	}
	factor = math.Pow(grow[len(grow)-1]/grow[0], 1/steps)
	exp, lin := 0.0, 0.0
	slope := (grow[len(grow)-1] - grow[0]) / steps
	for i := range grow {
		e, s := grow[0]*math.Pow(factor, float64(i)), grow[0]+slope*float64(i)
		exp = math.Max(exp, math.Abs(grow[i]-e)/math.Max(e, 1e-9))
		lin = math.Max(lin, math.Abs(grow[i]-s)/math.Max(math.Abs(s), 1e-9))
	}
	tolerance := 0.25 + jitter
	switch {
	case factor >= 1.4 && exp <= tolerance && (exp <= lin || len(grow) == 2):
		return "exponential", ask.Round(factor), jitter
	case slope > 0 && lin <= tolerance:
		return "linear", 0, jitter
	case factor >= 1.4 && exp <= tolerance:
		return "exponential", ask.Round(factor), jitter
	}
	return "irregular", 0, jitter
}

// Thresholds of a retry storm: retries per time step, which must also be at least as many as the
// first attempts.
const (
	stormStepNs  = 10e9
	stormRetries = 20
)

// storms finds times with many retries.
func (l *finder) storms(ctx context.Context) ([]Pattern, error) {
	chains, err := l.chains(ctx)
	if err != nil {
		return nil, err
	}
	type slot struct {
		retries, firsts int64
		ids             []string
		clients         []string
		at              int64
		ch              chain
		unsure          bool // without ids
	}
	by := map[string]*slot{}
	for _, ch := range chains {
		for i, at := range ch.Starts {
			k := fmt.Sprintf("%s\x00%d", ch.Dst, at/int64(stormStepNs))
			s := by[k]
			if s == nil {
				s = &slot{at: at / int64(stormStepNs) * int64(stormStepNs), ch: ch}
				by[k] = s
			}
			if i == 0 {
				s.firsts++
				continue
			}
			s.retries++
			s.unsure = s.unsure || !ch.Sure
			s.clients = ask.AddName(s.clients, ch.Src)
			if i < len(ch.CallIDs) && len(s.ids) < 10 {
				s.ids = append(s.ids, ch.CallIDs[i])
			}
		}
	}
	worst := map[string]*slot{}
	for _, s := range by {
		if s.retries < stormRetries || s.retries < s.firsts {
			continue
		}
		if o := worst[s.ch.Dst]; o == nil || s.retries > o.retries || s.retries == o.retries && s.at < o.at {
			worst[s.ch.Dst] = s
		}
	}
	var out []Pattern
	for _, s := range worst {
		sure, doubt := "exact", ""
		if s.unsure {
			sure, doubt = "likely", " Without ids, some may be other requests that are equal."
		}
		out = append(out, Pattern{Kind: "retry_storms", Src: strings.Join(ask.SomeNames(s.clients), ", "), Dst: s.ch.Dst, Problem: true, Count: s.retries, Confidence: sure, CallIDs: s.ids,
			How: "retries as in the kind retries, per 10 s", KFL: l.kfl("", s.ch.Dst, s.ch.Pb, s.ch.Asked),
			Numbers: []Number{{"retries_in_10s", float64(s.retries)}, {"first_tries_in_10s", float64(s.firsts)}},
			Words:   plural.Sprintf("%d {retry|retries} hit %s within 10 s from %s on, in addition to %d first {attempt|attempts}.", s.retries, s.ch.Dst, when.Stamp(s.at), s.firsts) + doubt})
	}
	refused, err := l.bursts(ctx)
	return append(out, refused...), err
}
