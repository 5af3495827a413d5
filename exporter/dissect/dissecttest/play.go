// Package dissecttest contains the tests that every protocol runs: a way to play a conversation to
// the engine without packets, and a conformance suite that cuts, drops and damages the same
// conversation in many ways.
//
// Play sends each chunk in its own packet, one microsecond after the previous one. Run checks the
// contract of dissect.Protocol, Fuzz checks it on random bytes, and Converse compares rows; a
// protocol must have all three before it is listed in all.go.
package dissecttest

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Chunk is the payload of one packet in one direction.
type Chunk struct {
	Dir  dissect.Dir
	Data []byte
	Gap  int64 // bytes lost before Data
	Wait int64 // ns between the previous packet and this one, in addition to the usual microsecond
}

// Client is a chunk from the client.
func Client(s string) Chunk { return Chunk{Dir: dissect.ToServer, Data: []byte(s)} }

// Server is a chunk from the server.
func Server(s string) Chunk { return Chunk{Dir: dissect.ToClient, Data: []byte(s)} }

// Result is everything that the engine produced from a conversation.
type Result struct {
	Emissions []dissect.Emission
	Anomalies []table.Anomaly
	Conn      *dissect.Conn
	Bytes     int64 // payload bytes played
	Held      int   // bytes the engine still held after the end; must be 0
}

// Rows are the rows in order.
func (r *Result) Rows() []table.CallRow {
	var rows []table.CallRow
	for _, e := range r.Emissions {
		rows = append(rows, e.Row)
	}
	return rows
}

// Call implements dissect.Sink.
func (r *Result) Call(e dissect.Emission) { r.Emissions = append(r.Emissions, e) }

// Anomaly implements dissect.Sink.
func (r *Result) Anomaly(_ *dissect.Conn, a table.Anomaly) { r.Anomalies = append(r.Anomalies, a) }

// Options control how a conversation is played.
type Options struct {
	Transport  dissect.Transport
	ClientPort uint16 // 0: 40000
	ServerPort uint16
	End        dissect.End // how the connection ends; with EndFin, both directions end first
	Protocols  []*dissect.Protocol
	Roles      bool // a handshake identified client and server
	IPVersion  uint8
	Multicast  bool
	Budget     int // bytes that the conversation may hold; 0: the engine's own limit
}

// Play runs a conversation through an engine with o.Protocols.
func Play(t testing.TB, o Options, chunks ...Chunk) *Result {
	t.Helper()
	r := &Result{}
	e, err := dissect.NewEngine(o.Protocols, nil, r, true)
	if err != nil {
		t.Fatal(err)
	}
	e.Trace()
	if o.Budget > 0 {
		e.SetBudget(o.Budget)
	}
	c := e.NewConn(dissect.Info{Transport: o.Transport, ClientPort: cmp.Or(o.ClientPort, 40000), ServerPort: o.ServerPort,
		RolesKnown: o.Roles, Began: [2]bool{o.Roles, o.Roles}, ConnectUs: -1, IPVersion: o.IPVersion, Multicast: o.Multicast})
	r.Conn = c
	var sent [2]uint32
	p := dissect.Packet{No: -1, Time: 1_700_000_000_000_000_000}
	for _, ch := range chunks {
		p = dissect.Packet{No: p.No + 1, Time: p.Time + 1000 + ch.Wait, Ack: sent[ch.Dir.Other()]}
		if ch.Gap > 0 {
			c.Gap(ch.Dir, ch.Gap, p)
			sent[ch.Dir] += uint32(ch.Gap)
		}
		p.Seq = sent[ch.Dir]
		r.Bytes += int64(len(ch.Data))
		data := append([]byte(nil), ch.Data...)
		if o.Transport == dissect.TCP {
			c.Data(ch.Dir, data, p)
		} else {
			c.Datagram(ch.Dir, data, p)
		}
		for i := range data { // exposes a dissector that keeps Data
			data[i] = 0xDB
		}
		sent[ch.Dir] += uint32(len(ch.Data))
	}
	p.No, p.Time = p.No+1, p.Time+1000
	if o.End == dissect.EndFin && o.Transport == dissect.TCP {
		c.End(dissect.ToServer, p)
		c.End(dissect.ToClient, p)
	}
	c.Close(o.End, p)
	r.Held = e.Held()
	return r
}

// Credentials lists the credentials of a call that no row shows, in order.
func Credentials(e *dissect.Emission) (texts []string) {
	for _, h := range e.Hidden {
		if h.Text != "" {
			texts = append(texts, h.Text)
		}
	}
	return texts
}

// Lines renders rows in short form: stream, summary, error, complete, failed, bodies.
func Lines(r *Result) string {
	var b strings.Builder
	for _, e := range r.Emissions {
		c := e.Row.Base()
		fmt.Fprintf(&b, "%d %s", c.StreamID.V, c.Summary)
		if c.Error.OK {
			b.WriteString(" error=" + c.Error.V)
		}
		if c.Complete {
			b.WriteString(" complete")
		}
		if c.Failed {
			b.WriteString(" failed")
		}
		for i, body := range []*dissect.Body{e.ReqBody, e.RespBody} {
			if body != nil {
				fmt.Fprintf(&b, " %s=%q", []string{"sent", "got"}[i], body.Decoded)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// Kinds lists the kinds of the anomalies.
func Kinds(r *Result) string {
	var s []string
	for _, a := range r.Anomalies {
		s = append(s, a.Kind)
	}
	return strings.Join(s, " ")
}
