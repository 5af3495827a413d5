package compare

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/internal/plural"
)

// Sentences of the verdict about single services, endpoints and pairs.
const (
	mostChanged = 10
	mostMaybe   = 5
)

// writeVerdict writes the verdict: all calls, what changed, what may have changed, what is unknown.
func (o *Answer) writeVerdict(services, endpoints, pairs []Change) {
	o.Verdict = []string{}
	say := func(format string, args ...any) { o.Verdict = append(o.Verdict, plural.Sprintf(format, args...)) }
	switch {
	case o.Period.Calls == 0 && o.Baseline.Calls == 0:
		say("Neither window has calls.")
		return
	case o.Baseline.Calls == 0:
		say("The baseline %s, so there is nothing to compare with; the period has %d {call|calls}, %d failed.", without(o.Baseline.Coverage.State), o.Period.Calls, o.Period.Failed)
		return
	case o.Period.Calls == 0:
		say("The period %s; the baseline has %d {call|calls}, %d failed.", without(o.Period.Coverage.State), o.Baseline.Calls, o.Baseline.Failed)
		return
	}
	list := o.parts(services, endpoints, pairs)
	o.Verdict = append(o.Verdict, o.Total.summary(slices.ContainsFunc(list, func(p part) bool { return p.grade == 2 })))
	if o.Total.Mix != "" {
		say("All requests: %s.", o.Total.Mix)
	}
	for _, g := range []struct {
		grade, most int
		rest        string
	}{{2, mostChanged, "%d more {change is|changes are} listed under services, endpoints and pairs."}, {1, mostMaybe, "%d more may have changed, with too few calls to be sure; see maybe."}} {
		rest := 0
		for i, p := range slices.DeleteFunc(slices.Clone(list), func(p part) bool { return p.grade != g.grade }) {
			if i < g.most {
				o.Verdict = append(o.Verdict, p.text)
			} else {
				rest++
			}
		}
		if rest > 0 {
			say(g.rest, rest)
		}
	}
	o.Verdict = append(o.Verdict, certainty(endpoints))
	for _, news := range []struct {
		what string
		list []News
	}{{"New", o.New}, {"Vanished", o.Vanished}} {
		if len(news.list) > 0 {
			say("%s: %s.", news.what, countKinds(news.list))
		}
	}
	if o.Period.Coverage.State != "complete" || o.Baseline.Coverage.State != "complete" {
		o.Note("the windows were not recorded completely, so volumes are not comparable; see the coverage of each")
	}
	if o.Tests > 1 {
		o.Note("%d comparisons had enough calls to show a change; p values are adjusted (Holm), and a change is reported only if it is also substantial: latency by at least %.0f %%, errors by 1 percentage point, volume by half", o.Tests, 100*(minRatio-1))
	}
}

// part is a sentence about one service, endpoint or pair.
type part struct {
	grade  int // see Change.rank
	weight float64
	text   string
}

// parts are the sentences about what changed or may have changed, the most important first. A service
// with one endpoint, or a pair whose server has no other client, says the same as that endpoint or service.
// A part whose volume changed as that of all calls, and nothing else, is not mentioned.
func (o *Answer) parts(services, endpoints, pairs []Change) (list []part) {
	type key struct {
		dst   string
		calls [2]int64
	}
	same := map[key]bool{}
	for _, e := range endpoints {
		same[key{e.Dst, e.Calls}] = true
	}
	add := func(ch *Change, name string) {
		p := part{ch.rank(), ch.weight, ch.Words}
		if ch.Mix != "" {
			p.grade, p.text = 2, strings.TrimPrefix(p.text+"; "+ch.Mix, "; ")
		}
		if len(ch.Changed) == 1 && ch.Mix == "" && strings.HasSuffix(ch.Changed[0], "_calls") && slices.Contains(o.Total.Changed, ch.Changed[0]) {
			return
		}
		if p.text != "" {
			p.text = name + ": " + p.text + "."
			list = append(list, p)
		}
	}
	for i := range services {
		if s := &services[i]; !same[key{s.Dst, s.Calls}] {
			add(s, s.Dst)
			same[key{s.Dst, s.Calls}] = true
		}
	}
	for i := range endpoints {
		add(&endpoints[i], strings.TrimSpace(endpoints[i].Dst+" "+endpoints[i].Endpoint))
	}
	for i := range pairs {
		if p := &pairs[i]; !same[key{p.Dst, p.Calls}] {
			add(p, p.Src+" to "+p.Dst)
		}
	}
	slices.SortStableFunc(list, func(a, b part) int { return cmp.Or(b.grade-a.grade, cmp.Compare(b.weight, a.weight)) })
	return list
}

// summary describes all calls. changes is whether any of their parts changed.
func (ch *Change) summary(changes bool) string {
	state := func(e *Effect, is ...string) string {
		for _, word := range is {
			if slices.Contains(ch.Changed, word) {
				return ch.phrase(word)
			}
		}
		switch {
		case e.State == tooFew:
			return "too few calls to be sure"
		case changes:
			return "no change seen in the total, but parts changed"
		}
		return "no change seen"
	}
	text := plural.Sprintf("All requests: %d, before %d", ch.Calls[1], ch.Calls[0])
	if ch.Volume.State == changed {
		text += "; " + ch.volumeWords()
	}
	text += fmt.Sprintf("; %s: %s", ch.errorWords(), state(ch.Errors, "more_errors", "fewer_errors"))
	if ch.Latency != nil {
		text += fmt.Sprintf("; %s%s: %s", ch.latencyWords(), ch.slowestWords(), state(ch.Latency, "slower", "faster", "slowest_slower", "slowest_faster"))
	}
	return text + "."
}

// certainty says for how many endpoints there are enough calls to say that nothing changed.
func certainty(endpoints []Change) string {
	var both, unsure, changed int
	for i := range endpoints {
		switch ch := &endpoints[i]; {
		case ch.Calls[0] == 0 || ch.Calls[1] == 0:
			continue
		case ch.rank() == 2:
			changed++
		case ch.unsure():
			unsure++
		}
		both++
	}
	count := func(n int) string { return plural.Count(int64(n), "endpoint", "endpoints") }
	switch rest := both - changed - unsure; {
	case both == 0:
		return "No endpoint has calls in both windows, so none can be compared."
	case unsure == both:
		return fmt.Sprintf("Too few calls to be sure about latency or failures of any of %s.", count(both))
	case unsure > 0:
		return fmt.Sprintf("No change seen in %s of %d; too few calls to be sure about %d.", count(rest), both, unsure)
	case rest > 0:
		return fmt.Sprintf("No change seen in latency or failures of %s of %d.", count(rest), both)
	}
	return fmt.Sprintf("Changed: %s of %d with calls in both windows.", count(changed), both)
}
