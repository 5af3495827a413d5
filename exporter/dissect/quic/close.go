package quic

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/handshake"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// cryptoError is the first of 256 codes that contain a TLS alert, RFC 9000 section 20.1.
const cryptoError = 0x100

// errorNames are the transport error codes of RFC 9000 section 20.1 and RFC 9368.
var errorNames = [...]string{
	0x00: "NO_ERROR", 0x01: "INTERNAL_ERROR", 0x02: "CONNECTION_REFUSED", 0x03: "FLOW_CONTROL_ERROR", 0x04: "STREAM_LIMIT_ERROR",
	0x05: "STREAM_STATE_ERROR", 0x06: "FINAL_SIZE_ERROR", 0x07: "FRAME_ENCODING_ERROR", 0x08: "TRANSPORT_PARAMETER_ERROR",
	0x09: "CONNECTION_ID_LIMIT_ERROR", 0x0a: "PROTOCOL_VIOLATION", 0x0b: "INVALID_TOKEN", 0x0c: "APPLICATION_ERROR",
	0x0d: "CRYPTO_BUFFER_EXCEEDED", 0x0e: "KEY_UPDATE_ERROR", 0x0f: "AEAD_LIMIT_REACHED", 0x10: "NO_VIABLE_PATH", 0x11: "VERSION_NEGOTIATION_ERROR",
}

func errorName(code uint64) string {
	switch {
	case code < uint64(len(errorNames)):
		return errorNames[code]
	case code >= cryptoError && code < cryptoError+0x100:
		return "CRYPTO_ERROR " + handshake.Alert(uint8(code))
	}
	return fmt.Sprintf("0x%x", code)
}

// close ends the connection and emits its row.
func (q *conn) close(why dissect.End) {
	if q.closed {
		return
	}
	q.in = nil
	q.impatient, q.changed = true, true
	q.retryIfChanged()
	for _, k := range q.kept {
		q.unread(q.dir(k.role))
		q.c.Release(len(k.packet))
	}
	q.kept = nil
	for i := range q.cryptos {
		for r := range q.cryptos[i] {
			q.lostCrypto(&q.cryptos[i][r])
		}
	}
	switch {
	case q.row.Close.V == "stateless_reset":
		why = dissect.EndReset
	case q.row.Close.OK:
		why = dissect.EndFin
	}
	if n := q.unanswered(); why == dissect.EndTimeout && n > 0 && len(q.row.ServerCIDs) > 0 {
		q.t.anomaly("silence", "the conversation fell silent without CONNECTION_CLOSE while the server had not ended %d streams: they have no answer, or their client moved to other ports and an id issued under encryption", n)
	}
	q.closeStreams(why)
	q.c.StreamsEnd(q)
	q.closed = true
	q.reportKeys()
	q.shake.Keys(q.keys())
	if q.weak {
		q.alert()
	}
	q.shake.Close(why)
	q.emit(why)
}

// unanswered counts the streams of the client that the server has not ended.
func (q *conn) unanswered() (n int) {
	for id, x := range q.app.open {
		if id&3 == 0 && !x.halves[server].ended {
			n++
		}
	}
	return n
}

// closeStreams ends all open streams in the order of their numbers.
func (q *conn) closeStreams(why dissect.End) {
	a, p := &q.app, q.t.p
	ids := make([]int64, 0, len(a.open))
	for id := range a.open {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		x := a.open[id]
		for r := range x.halves {
			pl := place{x, role(r)}
			for h := pl.half(); !h.ended && h.asm.gap() > 0; {
				q.skipGap(pl, p)
			}
			q.end(pl, pl.half().final >= 0 && pl.half().asm.next >= pl.half().final, p)
		}
	}
	if a.streams != nil {
		for _, pl := range a.waiting { // the bytes that the reader waits for will not come
			if buf := pl.half().buf; buf != nil {
				buf.End(false, p)
			}
		}
		q.offerWaiting()
	}
	for _, id := range ids {
		x := a.open[id]
		if x == nil {
			continue
		}
		for r := range x.halves {
			q.countUnread(place{x, role(r)})
		}
		if x.inner != nil {
			x.inner.Close(why, p)
		}
		q.c.Release(streamCost)
	}
	for _, pl := range a.waiting {
		q.countUnread(pl)
	}
	a.open, a.waiting, a.gaps, a.last = nil, nil, nil, nil
	if a.dgramConn != nil {
		a.dgramConn.Close(why, p)
	}
	if a.inner != nil {
		a.streams.Close(why, q.appClose)
		for _, l := range a.dgrams {
			if l != nil {
				l.Close()
			}
		}
		a.inner.Close(why, p)
	}
}

// countUnread counts the unread bytes of a direction as an anomaly.
func (q *conn) countUnread(pl place) {
	h := pl.half()
	if h.buf != nil && h.buf.Len() > 0 {
		inner := q.app.inner
		inner.AnomalyFrom(inner.Protocol().Name, "unfinished", fmt.Sprintf("stream %d: the end cut a message short", pl.s.id), int64(h.buf.Len()))
	}
	q.free(pl)
}

// reportKeys sets the state of the keys of the 5-tuple's connection, unless a better state was
// set before.
func (q *conn) reportKeys() {
	e := q.c.Encryption()
	state, reason := q.keys()
	if state > e.State || e.State == state && e.Reason == "" {
		e.State, e.Reason = state, reason
	}
}

func (q *conn) emit(why dissect.End) {
	if !q.x.HasRequest() && !q.x.HasResponse() {
		return
	}
	row := q.row
	if row.Offered == nil && q.version != 0 {
		row.Offered = []string{}
	}
	if !row.Version.OK && q.version != 0 {
		row.Version = table.Some(versionName(q.version))
	}
	q.x.Reversed = q.client == dissect.ToClient
	fault := q.fault(why)
	if fault != "" {
		row.Error = table.Some(fault)
	}
	row.Complete = fault == ""
	if row.CloseName.OK && !q.unheard() {
		row.StatusText = row.CloseName
	}
	row.Outcome = q.outcome()
	row.Summary = q.summary(fault)
	q.c.Emit(&q.x, row)
}

// fault is the value of column error.
func (q *conn) fault(why dissect.End) string {
	row := q.row
	closed := row.Close.OK
	switch {
	case closed && row.Close.V == "stateless_reset":
		return "reset"
	case row.Midstream:
		return "cut"
	case !q.hasClient && q.other == 0 && !row.Version.OK && row.Negotiation == nil:
		return "no_request"
	case q.unheard():
		return "no_response"
	case row.GapBytes > 0:
		return "gap"
	case closed:
		return ""
	case why == dissect.EndTimeout && row.ClientOneRTT+row.ClientOther > 0, why == dissect.EndFin:
		return "" // a timeout is a normal end, RFC 9000 section 10.1
	case why == dissect.EndTimeout:
		return "timeout"
	case why == dissect.EndReset:
		return "reset"
	}
	return "cut"
}

// unheard reports whether no packet came from the server. What the client then closes with says only that it gave up.
func (q *conn) unheard() bool {
	row := q.row
	return q.heard == 0 && row.ServerOther == 0 && row.ServerOneRTT == 0 && row.Negotiation == nil && row.CloseBy.V != "server"
}

// outcome is the result of the connection itself: if a side closes it with an error, the other
// side caused that.
func (q *conn) outcome() string {
	row := q.row
	const h3NoError = 0x100 // RFC 9114 section 8.1
	code := row.CloseCode.V
	switch {
	case row.Close.V == "stateless_reset":
		return table.NoAnswer
	case q.hasClient && !row.Midstream && q.unheard():
		return "" // as of any question without an answer
	case row.Close.V == "transport" && code == 2: // CONNECTION_REFUSED, RFC 9000 section 20.1
		return table.Refused
	case row.Close.V == "transport" && code != 0, row.Close.V == "application" && code != 0 && code != h3NoError:
		if row.CloseBy.V == "client" {
			return table.ServerError
		}
		return table.ClientError
	case row.Midstream:
		return table.Cut
	case q.restarts: // the version is not supported, and the client tried no other
		return table.Refused
	}
	return ""
}

// summary is version, name, protocol → result.
func (q *conn) summary(fault string) string {
	row := q.row
	var b strings.Builder
	b.WriteString("QUIC")
	switch v := row.Version.V; {
	case v == "":
	case v == "1" || v == "2":
		b.WriteString(" v" + v)
	default:
		b.WriteString(" " + v)
	}
	if row.Host.OK {
		b.WriteString(" " + clip.Text(row.Host.V, 120))
	}
	if row.Midstream {
		b.WriteString(" in mid-connection")
	}
	b.WriteString(" →")
	if row.ALPN.OK {
		b.WriteString(" " + clip.Text(row.ALPN.V, 40) + ",")
	}
	if row.Retry {
		b.WriteString(" retry,")
	}
	if row.ZeroRTT.OK {
		b.WriteString(" 0-RTT " + row.ZeroRTT.V + ",")
	}
	switch {
	case row.Close.V == "application":
		fmt.Fprintf(&b, " closed by the %s with 0x%x", row.CloseBy.V, row.CloseCode.V)
	case row.Close.V == "transport":
		fmt.Fprintf(&b, " closed by the %s with %s", row.CloseBy.V, row.CloseName.V)
	case row.Close.OK:
		fmt.Fprintf(&b, " reset by the %s", row.CloseBy.V)
	case q.restarts:
		b.WriteString(" version not supported")
	case fault == "no_response":
		b.WriteString(" no response")
	case fault != "":
		b.WriteString(" " + fault)
	default:
		fmt.Fprintf(&b, " %d packets to the server, %d back", row.ClientInitial+row.ClientHandshake+row.ZeroRTTPackets+row.ClientOneRTT+row.ClientOther,
			row.ServerInitial+row.ServerHandshake+row.ServerOneRTT+row.ServerOther)
	}
	return b.String()
}
