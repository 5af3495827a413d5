package chain

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/relation"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// maxDeliveries is the highest number of deliveries of messages that are read for a chain.
const maxDeliveries = 200_000

// delivery is a call by which a consumer got messages, with one of the calls that published them.
type delivery struct {
	Got      int64  `json:"k"`
	Put      *int64 `json:"pk"` // nil if it was not captured
	At       int64  `json:"ns"`
	Until    int64  `json:"until"`
	Acked    bool   `json:"acked"` // the broker learned when the consumer was done
	Endpoint int64  `json:"endpoint"`
	Grade    int64  `json:"grade"`
	Puts     int64  `json:"puts"`
	Waits    bool   `json:"waits"` // the publisher waited for the consumer's answer
	Queue    int64  `json:"queue"`
	Role     string `json:"role"` // put: no delivery, but a call that published
}

// messages are the deliveries at brokers in a range of time.
type messages struct {
	from, to int64 // of the steps whose messages were read
	puts     map[ask.Key]bool
	byPut    map[ask.Key][]*delivery
	byGot    map[ask.Key][]*delivery
	byEnd    map[ask.Key][]*delivery // by the consumer's endpoint, in order of time
}

// work is a consumer's work on the messages that a call got.
type work struct {
	at       *party
	from, to int64
	acked    bool // the broker learned when it ended
	puts     int64
}

// pushing are the protocols whose brokers send messages to their clients on their own. Neither
// these rows nor those of the clients are requests that a server makes other calls for.
var pushing = map[string]bool{"nats": true, "amqp": true, "mqtt": true, "stomp": true}

// keyOf is the key of a number of terms.NumberOf.
func keyOf(c terms.Several, n int64) ask.Key {
	if !c.Several() {
		return ask.Key{No: n}
	}
	return ask.Key{Bundle: n / terms.BundleStep, No: n % terms.BundleStep}
}

// loadMessages reads the deliveries near some steps.
func (k *Builder) loadMessages(list []*Step) error {
	if len(list) == 0 {
		return nil
	}
	if err := k.loadMails(); err != nil {
		return err
	}
	from, to := list[0].Start, list[0].End
	for _, s := range list {
		from, to = min(from, s.Start), max(to, s.End)
	}
	if m := k.messages; m != nil {
		if from >= m.from && to <= m.to {
			return nil
		}
		from, to = min(from, m.from), max(to, m.to)
	}
	const near = relation.MaxQueueNs
	m := &messages{from - near, to + near, map[ask.Key]bool{}, map[ask.Key][]*delivery{}, map[ask.Key][]*delivery{}, map[ask.Key][]*delivery{}}
	if some, err := ask.MayHaveMessages(k.Ctx, k.C); !some || err != nil {
		m.from, m.to = math.MinInt64, math.MaxInt64
		k.messages = m
		return err
	}
	rows, more, err := ask.Rows[delivery](k.Ctx, k.C, maxDeliveries, fmt.Sprintf(`WITH %s, x AS NOT MATERIALIZED (%s)%s
		SELECT g.k, v.pk, g.ns, g.until, g.acked IS NOT NULL AS acked, g.endpoint, coalesce(v.grade, 0)::BIGINT AS grade, coalesce(v.puts, 0) AS puts, coalesce(g.ns - v.since, 0) AS queue, coalesce(g.acked <= v.answered, false) AS waits, '' AS role FROM got g LEFT JOIN via v ON v.gk = g.k
		UNION ALL SELECT k, NULL, ns, ns, false, endpoint, 0, 0, 0, false, 'put' FROM msg WHERE put ORDER BY ns, k, pk`, terms.EndNames(k.C, "service"),
		terms.EndsOf(k.C, "service", fmt.Sprintf("SELECT * FROM calls WHERE ts_ns BETWEEN %d AND %d AND protocol IN %s", from-2*near, to+2*near, relation.Brokers)), relation.Messages(k.C)))
	if err != nil {
		return err
	}
	for i := range rows {
		d := &rows[i]
		got := keyOf(k.C, d.Got)
		if d.Role == "put" {
			m.puts[got] = true
			continue
		}
		m.byGot[got] = append(m.byGot[got], d)
		end := ask.Key{Bundle: got.Bundle, No: d.Endpoint}
		m.byEnd[end] = append(m.byEnd[end], d)
		if d.Put != nil {
			put := keyOf(k.C, *d.Put)
			m.byPut[put] = append(m.byPut[put], d)
		}
	}
	k.messages, k.Cut = m, k.Cut || more
	for _, s := range k.Steps {
		k.setWork(s)
	}
	return nil
}

// setWork records that a step got messages: then it is its consumer that may make calls for it.
func (k *Builder) setWork(s *Step) {
	if k.messages == nil || s.work != nil {
		return
	}
	list := k.messages.byGot[s.Key()]
	if len(list) == 0 {
		return
	}
	d := list[0]
	s.work = &work{s.Dst, d.At, d.Until, d.Acked, d.Puts}
	if d.Endpoint == s.SrcID {
		s.work.at = s.Src
		k.into[s.Src.Key] = append(k.into[s.Src.Key], s)
	}
}

// open is where a call may cause others, and when.
func (s *Step) open() (at *party, from, to int64) {
	if w := s.work; w != nil {
		return w.at, w.from, w.to
	}
	return s.Dst, s.Start, s.End
}

// unsure lowers the confidence that work was for one message, and says why.
func (w *work) unsure(f *fit) (why []string) {
	if f.kind >= byRequest {
		return nil
	}
	if !w.acked {
		f.factor *= 0.9
		why = append(why, "it is unknown when the work on the message ended")
	}
	if w.puts > 1 {
		f.factor /= float64(w.puts)
		why = append(why, fmt.Sprintf("messages of %d calls were got at once", w.puts))
	}
	return why
}

// gotAt loads the calls that got messages whose work overlaps spans.
func (k *Builder) gotAt(spans []span) error {
	if k.messages == nil {
		return nil
	}
	var keys []ask.Key
	for _, s := range spans {
		for _, p := range k.Same[s.at.Key] {
			list := k.messages.byEnd[ask.Key{Bundle: p.Bundle, No: p.ID}]
			end, _ := slices.BinarySearchFunc(list, s.hi, func(d *delivery, ns int64) int { return cmp.Compare(d.At, ns+1) })
			for _, d := range list[:end] {
				if key := keyOf(k.C, d.Got); d.Until >= s.lo && k.Steps[key] == nil && len(keys) < ask.MaxLoaded {
					keys = append(keys, key)
				}
			}
		}
	}
	_, err := k.Load(keys)
	return err
}

// consumed loads the calls that got the messages which some steps published.
func (k *Builder) consumed(list []*Step) ([]*Step, error) {
	var keys []ask.Key
	for _, s := range list {
		for _, d := range k.messages.byPut[s.Key()] {
			keys = append(keys, keyOf(k.C, d.Got))
		}
	}
	return k.Load(keys)
}

// published loads the calls that published the messages which some steps got.
func (k *Builder) published(list []*Step) error {
	var keys []ask.Key
	for _, s := range list {
		if s.work == nil || s.linked {
			continue
		}
		for _, d := range k.messages.byGot[s.Key()] {
			if d.Put != nil && len(keys) < ask.MaxLoaded {
				keys = append(keys, keyOf(k.C, *d.Put))
			}
		}
	}
	_, err := k.Load(keys)
	return err
}

// sameMessage has the fields that link the two ends of a broker, by protocol.
var sameMessage = map[string]string{
	"kafka": "the same topic and partition, with the offset or with payload and trace", "nats": "the same stream and sequence, the same reply subject, or the same subject, payload and trace", "amqp": "the same exchange and routing key, with the message id or with payload and trace",
	"stomp": "the same destination, with the publisher's message id or with payload and trace",
	"mqtt":  "the same topic, with response topic and correlation data or with payload and trace", "redis": "the same stream and entry",
}

// confidences of links through a broker, by grade.
var messageConfidences = [...]float64{0.98, 0.8}

// publisherOf links a call that got messages to one that published them: the one that was searched,
// else the first.
func (k *Builder) publisherOf(got *Step) *Link {
	var best *delivery
	var parent *Step
	for _, d := range k.messages.byGot[got.Key()] {
		if d.Put == nil {
			continue
		}
		if p := k.Steps[keyOf(k.C, *d.Put)]; p != nil && (parent == nil || rank(p) > rank(parent)) {
			best, parent = d, p
		}
	}
	if parent == nil {
		return nil
	}
	l := &Link{Parent: parent, Confidence: messageConfidences[min(best.Grade, 1)], How: "message: " + sameMessage[got.Protocol], Queue: best.Queue, Through: !best.Waits}
	if best.Grade > 0 {
		l.How = "message: the same topic and payload or number, and no other such message"
	}
	if best.Puts > 1 {
		l.How += plural.Sprintf("; one of %d {call|calls} whose messages were got at once", best.Puts)
	}
	return l
}

// rank prefers calls that match the input, then calls whose parent is known.
func rank(s *Step) int {
	switch {
	case s.Hit:
		return 2
	case s.linked:
		return 1
	}
	return 0
}
