package chain

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Link is the evidence that one call is the child of another.
type Link struct {
	Parent     *Step
	Confidence float64
	How        string
	Others     int   // other calls that fit equally well
	Through    bool  // through a broker, so that the parent does not wait for the child
	Queue      int64 // time between publishing a message and getting it, in nanoseconds
}

// Kinds of evidence for a parent, weakest first.
const (
	byTime    = iota // open at the same instance at that time
	byWords          // and contains the same values
	byUser           // and is about the same user
	byTarget         // and has the same method and path, as if a proxy forwarded it
	byText           // and both contain the requested text
	byBody           // and both have the same body
	byRequest        // and has the same request id
	byTrace          // and has the same trace id
	bySpan           // its span id is the child's parent span id
)

var evidence = [...]string{
	byTime:    "time containment at the same workload",
	byWords:   "time containment and the same values in both",
	byUser:    "time containment and the same user",
	byTarget:  "time containment and the same method and path",
	byText:    "time containment and the requested text in both",
	byBody:    "time containment and the same body",
	byRequest: "same request id, and time containment",
	byTrace:   "same trace id, and time containment",
	bySpan:    "parent span id",
}

// confidences is the confidence of each kind of evidence if nothing contradicts it.
var confidences = [...]float64{byTime: 0.8, byWords: 0.85, byUser: 0.87, byTarget: 0.88, byText: 0.9, byBody: 0.95, byRequest: 0.97, byTrace: 0.98, bySpan: 1}

// fit is one possible parent of a call.
type fit struct {
	p        *Step
	kind     int
	factor   float64
	why      []string
	outlasts bool
	loose    bool // fits only if the clocks differ
}

// ParentOf finds the parent of child. All calls that were open at child's source must be loaded.
func (k *Builder) ParentOf(child *Step) *Link {
	if child.linked {
		return child.Link
	}
	child.linked = true
	if child.Src == nil {
		return nil
	}
	if child.work != nil {
		child.Link = k.publisherOf(child)
		return child.Link
	}
	if l := k.senderOf(child); l != nil {
		child.Link = l
		return l
	}
	var fits []fit
	for _, p := range k.into[child.Src.Key] {
		if f, ok := k.fits(p, child, 1); ok {
			fits = append(fits, f)
		}
	}
	for _, name := range child.Src.Services {
		service := "service " + child.Src.Namespace + "/" + name
		for _, p := range k.into[service] {
			if f, ok := k.fits(p, child, 0.9); ok {
				f.why = append(f.why, fmt.Sprintf("it is unknown which of the %d pods behind the service answered", max(1, len(k.front[service]))))
				f.factor /= float64(max(1, len(k.front[service])))
				fits = append(fits, f)
			}
		}
	}
	if len(fits) == 0 {
		return nil
	}
	slices.SortFunc(fits, func(a, b fit) int { return k.better(a, b) })
	child.Link = k.judge(fits)
	return child.Link
}

// loadEvidence reads the details that help to choose, for calls with a possible parent. A call with only one
// needs them for its confidence, which must not depend on the other calls of a question.
func (k *Builder) loadEvidence(list []*Step) error {
	var need []*Step
	there := map[*Step]bool{}
	add := func(s *Step) {
		if !there[s] {
			there[s] = true
			need = append(need, s)
		}
	}
	for _, s := range list {
		if s.linked || s.Src == nil || len(need) > MaxNodes {
			continue
		}
		var found []*Step
		for _, p := range k.into[s.Src.Key] {
			if _, ok := k.fits(p, s, 1); ok {
				found = append(found, p)
			}
		}
		if len(found) > 0 {
			add(s)
			for _, p := range found {
				add(p)
			}
		}
	}
	return k.name(need)
}

// fits reports whether p may be the parent of child, and by which evidence.
func (k *Builder) fits(p, child *Step, factor float64) (fit, bool) {
	f := fit{p: p, factor: factor}
	at, from, to := p.open()
	if child.work != nil || at == nil || p.work != nil && at.Key != child.Src.Key || p.work == nil && pushing[p.Protocol] {
		return f, false
	}
	if p == child || p.ConnID == child.ConnID && p.Bundle == child.Bundle && (p.work == nil || !k.messages.puts[child.Key()]) || p.Protocol == "tls" || p.Protocol == "quic" || p.Protocol == "dns" && child.Protocol != "dns" || p.ofKernel() || child.ofKernel() {
		return f, false
	}
	if (child.Protocol == "tls" || child.Protocol == "quic") && !child.Broken() && !child.Sealed {
		return f, false // the calls that it carries are listed themselves
	}
	slack, stated := k.slack(p, child)
	if child.Start+slack < from || child.Start-slack > to {
		return f, false
	}
	if child.Start == from && slack == 0 && child.No < p.No { // ties go one way, to avoid cycles
		return f, false
	}
	if p.Trace != "" && child.Trace != "" && p.Trace != child.Trace {
		return f, false
	}
	switch {
	case child.above != "" && child.above == p.Span && child.Trace == p.Trace:
		f.kind = bySpan
	case child.Trace != "" && child.Trace == p.Trace:
		f.kind = byTrace
	case child.Request != "" && child.Request == p.Request:
		f.kind = byRequest
	default:
		if child.Request != "" && p.Request != "" {
			f.factor *= 0.5 // another id: this hop creates its own, or it is another request
			f.why = append(f.why, "request ids differ")
		}
		f.kind = likeness(p, child)
	}
	if w := p.work; w != nil {
		f.why = append(f.why, w.unsure(&f)...)
	}
	if child.sure && child.End-slack > to && !child.Sealed && (p.work == nil || p.work.acked) {
		f.outlasts = true
		f.factor *= 0.75
		f.why = append(f.why, "it lasted longer than its parent")
	}
	if slack > 0 && (child.Start-slack < from || child.End+slack > to) {
		f.loose = child.Start < from || child.Start > to
		f.why = append(f.why, fmt.Sprintf("the clocks may differ by %s, so the order is unknown", LengthOf(slack)))
		if !stated {
			k.Skewed = true
		}
	}
	return f, true
}

// likeness is the best evidence that two calls share, apart from ids.
func likeness(p, child *Step) int {
	switch {
	case p.body != "" && p.body == child.body || p.answer != "" && p.answer == child.answer:
		return byBody
	case child.Hit && p.Hit:
		return byText
	case p.target != "" && p.target == child.target:
		return byTarget
	case sameUser(p, child):
		return byUser
	case shareValue(p, child):
		return byWords
	}
	return byTime
}

// better sorts possible parents, best first: by evidence, then those that contain the child
// regardless of the clocks, then the one that began last.
func (k *Builder) better(a, b fit) int {
	if a.kind != b.kind {
		return b.kind - a.kind
	}
	if a.outlasts != b.outlasts {
		if a.outlasts {
			return 1
		}
		return -1
	}
	if a.loose != b.loose {
		if a.loose {
			return 1
		}
		return -1
	}
	if a.factor != b.factor {
		return cmp.Compare(b.factor, a.factor)
	}
	_, since, _ := a.p.open()
	_, other, _ := b.p.open()
	return cmp.Or(cmp.Compare(other, since), cmp.Compare(b.p.Bundle, a.p.Bundle), cmp.Compare(b.p.No, a.p.No))
}

// judge links the best parent and sets its confidence.
func (k *Builder) judge(fits []fit) *Link {
	best := fits[0]
	l := &Link{Parent: best.p, Confidence: confidences[best.kind] * best.factor, How: evidence[best.kind]}
	for _, f := range fits[1:] {
		// A call around the parent at the same instance (a sidecar proxy) is not a rival: it is the parent's own.
		around := f.p.Dst == best.p.Src || f.p.Dst != nil && best.p.Src != nil && f.p.Dst.Key == best.p.Src.Key
		if f.kind == best.kind && f.outlasts == best.outlasts && f.loose == best.loose && !(around && f.p.Start <= best.p.Start && f.p.End >= best.p.End) && f.p.ID != best.p.ID {
			l.Others++
		}
	}
	if l.Others > 0 {
		l.Confidence /= float64(l.Others + 1)
		l.How += plural.Sprintf("; %d {other call was|other calls were} open there and {fits|fit} equally well", l.Others)
	}
	for _, w := range best.why {
		l.How += "; " + w
	}
	l.Confidence = math.Round(l.Confidence*100) / 100
	return l
}

// Sure returns the word for a confidence: exact, likely or guess.
func Sure(confidence float64) string {
	switch {
	case confidence >= 0.95:
		return "exact"
	case confidence >= 0.6:
		return "likely"
	}
	return "guess"
}

// slack is how far the clocks of two calls may differ, and whether the recording states it.
func (k *Builder) slack(a, b *Step) (ns int64, stated bool) {
	if a.Clock == b.Clock && a.Bundle == b.Bundle {
		return 0, true
	}
	if a.Clock < 0 || b.Clock < 0 {
		return ClockUnsure, true // a connection has no clock id
	}
	x, okx := k.clocks[ask.Key{Bundle: a.Bundle, No: a.Clock}]
	y, oky := k.clocks[ask.Key{Bundle: b.Bundle, No: b.Clock}]
	if okx && oky {
		if x.Node != "" && x.Node == y.Node && x.Boot == y.Boot {
			return 0, true
		}
		if a.Bundle == b.Bundle && x.Same == y.Same {
			return 0, true
		}
		if x.Error != nil && y.Error != nil {
			return *x.Error + *y.Error, true
		}
	}
	return ClockUnsure, false
}

// sameUser reports whether child is made by, or asks about, the user of p: a server that looks up in a
// directory who logs in.
func sameUser(p, child *Step) bool {
	name := accountOf(p.user)
	return len(name) >= minAccount && (name == accountOf(child.user) || slices.Contains(names(child.words), name))
}

// minAccount is the shortest name of a user that is compared.
const minAccount = 3

// accountOf is the name of a user without domain or realm, in lower case: ann of SHOP\Ann and of
// ann@shop.example.
func accountOf(user string) string {
	user, _, _ = strings.Cut(user[strings.LastIndex(user, `\`)+1:], "@")
	return strings.ToLower(user)
}

// names are the words of a text that may be names of users, in lower case.
func names(s string) []string {
	return strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return strings.ContainsRune(" =,()&|!/\\@'?;:", r) })
}

// shareValue reports whether two calls share a value of four or more characters with a digit, such
// as an order number, in path, query, parameters or key.
func shareValue(a, b *Step) bool {
	x, y := values(a.words), values(b.words)
	return slices.ContainsFunc(x, func(v string) bool { return slices.Contains(y, v) })
}

func values(s string) []string {
	var out []string
	for _, v := range strings.FieldsFunc(s, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' || r == '_' || r >= 0x80)
	}) {
		if len(v) >= 4 && strings.ContainsAny(v, "0123456789") && len(out) < 32 {
			out = append(out, v)
		}
	}
	return out
}

// LengthOf writes a duration for people.
func LengthOf(ns int64) string {
	switch {
	case ns >= 10_000_000_000:
		return fmt.Sprintf("%.0f s", float64(ns)/1e9)
	case ns >= 1_000_000_000:
		return plural.Digits(float64(ns)/1e9, 3) + " s"
	case ns >= 1_000_000:
		return plural.Digits(float64(ns)/1e6, 3) + " ms"
	}
	return fmt.Sprintf("%d µs", ns/1000)
}
