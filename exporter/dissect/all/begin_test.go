package all

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// A capture that begins in a pipelined connection. Its requests are upper-case letters, the responses to them lower-case
// ones. What comes before | was not captured. After +, the client has not received the newest response, and after -, the
// server has not received the newest request.
var beginnings = []struct {
	name, order string
	wrong       string // pairs that only the end of the capture shows to be wrong
	unknown     bool   // there must be an anomaly
	right       string // pairs that must be
}{
	{name: "nothing is pending", order: "Aa|BbCcDd", right: "Cc Dd"},
	{name: "a response is pending", order: "A|aBbCcDd", right: "Cc Dd"},
	{name: "the second of a batch of two", order: "A|Bab", unknown: true},
	{name: "the last of a batch of three", order: "AB|Cabc", unknown: true},
	{name: "two of a batch of three", order: "A|BCabc", unknown: true},
	{name: "the rest of the batch comes after a response", order: "A|Ba+Cbc", unknown: true},
	{name: "two are always pending", order: "A|BaCbDcd", unknown: true, wrong: "Ba Cb Dc"},
	{name: "two are always pending, the server has one", order: "A|B-aC-bD-cd", unknown: true, right: "Cc Dd"},
	{name: "two are pending, the server has one later", order: "A|BaC-bcDd", unknown: true, wrong: "Ba", right: "Cc Dd"},
	{name: "two were pending, the server has one", order: "AB|aC-bD-cd", unknown: true, right: "Dd"},
}

// begins plays such a capture. A pair is a request and its response, and ! if the row is marked. joined: adjacent
// responses come in a segment.
func (l *pipeline) begins(t *testing.T, order string, joined bool) *begun {
	p := &begun{letters: map[uint32]byte{}}
	e, err := dissect.NewEngine(Protocols(nil), nil, p, true)
	if err != nil {
		t.Fatal(err)
	}
	c := e.NewConn(dissect.Info{Transport: l.kind, ClientPort: 40000, ServerPort: l.port, ConnectUs: -1, IPVersion: 4})
	next, captured := [2]uint32{1 << 20, 1 << 30}, false
	at, had := dissect.Packet{Time: 1e18}, next[dissect.ToClient]
	for i := 0; i < len(order); i++ {
		m := order[i]
		if m == '|' {
			captured = true
			continue
		}
		dir, text := dissect.ToServer, ""
		at.No, at.Time = at.No+1, at.Time+1000
		switch {
		case m == '+' || m == '-':
			continue
		case m < 'a':
			if i == 0 || order[i-1] != '+' {
				had = next[dissect.ToClient]
			}
			text, at.Seq, at.Ack = l.request(int(m-'A')), next[dir], had
			p.letters[at.Seq] = m
		default:
			was := at.Seq // of the request before, if order[i-1] is -
			dir = dissect.ToClient
			if at.Seq, at.Ack = next[dir], next[dissect.ToServer]; order[i-1] == '-' {
				at.Ack = was
			}
			p.letters[at.Seq], text = m, l.response(int(m-'a'))
			for ; joined && i+1 < len(order) && order[i+1] >= 'a' && order[i+1] < 'z'; i++ {
				p.letters[next[dir]+uint32(len(text))] = order[i+1]
				text += l.response(int(order[i+1] - 'a'))
			}
		}
		if next[dir] += uint32(len(text)); captured {
			c.Data(dir, []byte(text), at)
		}
	}
	c.Close(dissect.EndFin, dissect.Packet{No: at.No + 1, Time: at.Time + 1000})
	return p
}

// begun is a Sink for the pairs.
type begun struct {
	letters map[uint32]byte // by sequence number
	pairs   []string
	unknown bool
}

func (p *begun) Call(e dissect.Emission) {
	if _, unknown := e.Row.(*dissect.Unknown); !unknown && e.Request.Seen && e.Response.Seen {
		pair := string([]byte{p.letters[e.Request.Seq], p.letters[e.Response.Seq]})
		if b := e.Row.Base(); b.Outcome == table.Unread && (!b.Complete || b.Anomalies > 0) {
			pair += "!"
		}
		p.pairs = append(p.pairs, pair)
	}
}

func (p *begun) Anomaly(_ *dissect.Conn, a table.Anomaly) {
	p.unknown = p.unknown || a.Kind == "pairing_unknown"
}

// TestCaptureBeginsInAPipeline lacks requests whose responses come. A response to one of them is not an unmarked one to
// another, and an anomaly says so of calls that were right as far as the capture showed when they ended.
func TestCaptureBeginsInAPipeline(t *testing.T) {
	for _, l := range pipelines() {
		if l.kind != dissect.TCP {
			continue
		}
		numbered := slices.Contains([]string{"http2", "ldap", "thrift", "dns, tcp"}, l.name) // not only the order pairs
		for _, x := range beginnings {
			for _, joined := range []bool{false, true} {
				if joined && strings.Contains(x.order, "-") {
					continue
				}
				p := l.begins(t, x.order, joined)
				name := fmt.Sprintf("%s, %s, joined %v: pairs %v, anomaly %v", l.name, x.name, joined, p.pairs, p.unknown)
				for _, pair := range p.pairs {
					if right := pair[0]|0x20 == pair[1] || len(pair) == 3; !right && !(p.unknown && strings.Contains(x.wrong, pair)) {
						t.Errorf("%s: %s is wrong", name, pair)
					}
				}
				for _, pair := range strings.Fields(x.right) {
					if !slices.Contains(p.pairs, pair) && l.name != "clickhouse" && !strings.HasPrefix(l.name, "nats") {
						t.Errorf("%s: %s is missing", name, pair)
					}
				}
				if p.unknown && !x.unknown || p.unknown != x.unknown && !numbered && l.name != "clickhouse" && !strings.HasPrefix(l.name, "nats") {
					t.Errorf("%s: want anomaly %v", name, x.unknown)
				}
			}
		}
	}
}
