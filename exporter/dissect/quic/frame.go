package quic

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/handshake"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// frames reads the frames of a packet.
func (q *conn) frames(s sealed, number uint64, plain []byte) {
	if len(plain) == 0 {
		q.t.anomaly("frame", "reading packet: it has no frames")
		return
	}
	if isGoogle(s.version) {
		q.googleFrames(s, plain)
		return
	}
	for at := 0; at < len(plain); {
		typ, n := uint64(plain[at]), 1
		if typ == framePadding {
			at++
			continue
		}
		if typ >= 0x40 {
			if typ, n = varint(plain[at:]); n == 0 {
				q.t.anomaly("frame", "reading frame: its type ends early")
				return
			}
		}
		if !allowed(typ, s.kind) {
			q.t.anomaly("frame", "reading frame: %s in a packet of level %s", frameName(typ), levelName(s.kind))
			return
		}
		at += n
		used, err := q.frame(typ, s, number, plain[at:])
		if err != nil {
			q.t.anomaly("frame", "reading frame %s: %v", frameName(typ), err)
			return
		}
		at += used
		if q.closed {
			return
		}
	}
}

func levelName(k kind) string {
	return [...]string{initial: "Initial", zeroRTT: "0-RTT", handshakePacket: "Handshake", oneRTT: "1-RTT"}[k]
}

var (
	errFrameShort = errors.New("it ends early")
	errFrameType  = errors.New("unknown type")
)

// frame reads one frame without its type and returns its length in bytes.
func (q *conn) frame(typ uint64, s sealed, number uint64, b []byte) (int, error) {
	switch {
	case typ >= frameStream && typ <= frameStreamLast:
		return q.streamFrame(typ, s, number, b)
	case typ == frameAck || typ == frameAckECN:
		return q.ackFrame(typ == frameAckECN, s, b)
	}
	r := cursor.New(b)
	var err error
	switch typ {
	case framePing, frameImmediateAck:
	case frameHandshakeDone:
		q.row.Confirmed = true
		q.confirm()
	case frameCrypto:
		off, n := readVarint(&r), readVarint(&r)
		data := r.Bytes(int(min(n, 1<<30)))
		if !r.Short() {
			q.cryptoFrame(s, off, data)
		}
	case frameNewToken:
		r.Skip(int(min(readVarint(&r), 1<<30)))
	case frameTimestamp, frameMaxData, frameMaxStreamsBidi, frameMaxStreamsUni, frameDataBlocked, frameStreamsBlocked, frameStreamsBlocked2:
		readVarint(&r)
	case frameMaxStreamData, frameStreamBlocked:
		readVarint(&r)
		readVarint(&r)
	case frameAckFrequency:
		for range 4 {
			readVarint(&r)
		}
	case frameResetStream, frameResetStreamAt:
		id, code, final := readVarint(&r), readVarint(&r), readVarint(&r)
		reliable := uint64(0)
		if typ == frameResetStreamAt {
			reliable = readVarint(&r)
		}
		if !r.Short() {
			q.resetStream(s, int64(id), int64(code), int64(final), int64(reliable))
		}
	case frameStopSending:
		if id, code := readVarint(&r), readVarint(&r); !r.Short() {
			q.stopSending(s, int64(id), int64(code))
		}
	case frameNewID:
		err = q.newID(s.role, &r)
	case frameRetireID:
		if seq := readVarint(&r); !r.Short() {
			q.retireID(s.role, seq)
		}
	case framePathChallenge, framePathResponse:
		if data := r.Bytes(8); data != nil {
			q.path(typ == framePathResponse, s.role, data)
		}
	case frameClose, frameCloseApp:
		q.closeFrame(typ == frameCloseApp, s, &r)
	case frameDatagram, frameDatagramLen:
		n := uint64(r.Left())
		if typ == frameDatagramLen {
			n = readVarint(&r)
		}
		if data := r.Bytes(int(min(n, 1<<30))); !r.Short() {
			q.datagram(s, data)
		}
	default:
		return 0, errFrameType
	}
	if err == nil && r.Short() {
		err = errFrameShort
	}
	return r.Used(), err
}

// ackFrame records which packets the other side received.
func (q *conn) ackFrame(ecn bool, s sealed, b []byte) (int, error) {
	at := 0
	next := func() uint64 {
		v, n := varint(b[at:])
		if n == 0 {
			at = len(b) + 1
			b = b[:0]
			return 0
		}
		at += n
		return v
	}
	largest := next()
	if at <= len(b) {
		next() // delay
	}
	var ranges, first uint64
	if at <= len(b) {
		ranges = next()
	}
	if at <= len(b) {
		first = next()
	}
	if at > len(b) {
		return 0, errFrameShort
	}
	if first > largest {
		return 0, fmt.Errorf("a range of %d below %d", first, largest)
	}
	sp := &q.spaces[spaceOf(s.kind)][s.role.other()]
	low := largest - first
	acked := func(low, high uint64) {
		if sp.acked(low, high); spaceOf(s.kind) == spaceApp {
			q.took(s, low, high)
		}
	}
	acked(low, largest)
	for range ranges {
		gap := next()
		if at > len(b) {
			return 0, errFrameShort
		}
		n := next()
		if at > len(b) {
			return 0, errFrameShort
		}
		if gap+2 > low || n > low-gap-2 {
			return 0, fmt.Errorf("a range below 0")
		}
		high := low - gap - 2
		low = high - n
		acked(low, high)
	}
	if ecn {
		for range 3 {
			if next(); at > len(b) {
				return 0, errFrameShort
			}
		}
	}
	if sp.unseen && s.kind == oneRTT {
		q.app.delivered = true
	}
	return at, nil
}

// newID reads NEW_CONNECTION_ID.
func (q *conn) newID(r role, b *cursor.Cursor) error {
	seq := readVarint(b)
	readVarint(b) // retire prior to
	n := b.Uint8()
	if !b.Short() && (n == 0 || n > maxID) {
		return fmt.Errorf("a connection id of %d bytes", n)
	}
	data, token := b.Bytes(int(n)), b.Bytes(16)
	if b.Short() {
		return nil
	}
	q.addID(r, seq, data, token)
	return nil
}

// addID records an id that a side issues for itself, with its reset token.
func (q *conn) addID(r role, seq uint64, data, token []byte) {
	e := &q.ends[r]
	fresh := !e.is(data)
	x := e.add(seq, data)
	copy(x.token[:], token)
	x.reset = true
	if !fresh {
		return
	}
	list := &q.row.ClientCIDs
	if r == server {
		list = &q.row.ServerCIDs
	}
	if len(*list) < maxListed {
		*list = append(*list, hexOf(data))
	}
}

// retireID drops the reset token of an id that the other side no longer uses. The id itself
// stays known, because packets may still be on their way.
func (q *conn) retireID(r role, seq uint64) {
	e := &q.ends[r.other()]
	for i := range e.ids {
		if e.ids[i].seq == seq && i > 0 {
			e.ids[i].reset = false
		}
	}
}

// challenge is an unanswered PATH_CHALLENGE.
type challenge struct {
	from role
	open bool
	data [8]byte
}

// path reads PATH_CHALLENGE and PATH_RESPONSE.
func (q *conn) path(response bool, r role, data []byte) {
	if !response {
		q.row.PathChallenges++
		x := &q.challenges[q.nextPath%len(q.challenges)]
		q.nextPath++
		*x = challenge{from: r, open: true, data: [8]byte(data)}
		return
	}
	for i := range q.challenges {
		x := &q.challenges[i]
		if x.open && x.from != r && bytes.Equal(x.data[:], data) {
			x.open = false
			q.row.PathsValidated++
			return
		}
	}
}

// closeFrame reads CONNECTION_CLOSE.
func (q *conn) closeFrame(app bool, s sealed, r *cursor.Cursor) {
	code := readVarint(r)
	var frame uint64
	if !app {
		frame = readVarint(r)
	}
	reason := r.Bytes(int(min(readVarint(r), 1<<30)))
	if r.Short() {
		return
	}
	if q.in != nil {
		q.x.Cite(q.in, q.at, q.to)
	}
	if s.kind == initial && q.spaces[spaceHandshake][client].began {
		q.t.anomaly("forged_close", "CONNECTION_CLOSE of the %s with %s in an Initial packet after the client's first Handshake packet: both sides have discarded its keys, which everyone can derive", s.role, errorName(code))
		return
	}
	row := q.row
	if row.Close.OK && (row.Close.V != "transport" || !app) {
		return // both sides send it, and repeat it for late packets; an application's reason may follow in 1-RTT
	}
	if !row.Close.OK {
		q.closedAt = s.p.Time
	}
	q.weak, q.after = s.kind == initial, [2]int{}
	row.CloseBy, row.CloseCode = table.Some(s.role.String()), table.Some(int64(code))
	row.CloseReason = table.Opt[string]{}
	if len(reason) > 0 {
		row.CloseReason = table.Some(clip.Line(reason, 1000))
	}
	if app {
		row.Close, row.CloseName, row.CloseFrame = table.Some("application"), table.Opt[string]{}, table.Opt[string]{}
		q.appClose = int64(code)
		return
	}
	row.Close, row.CloseName = table.Some("transport"), table.Some(errorName(code))
	if frame != 0 {
		row.CloseFrame = table.Some(frameName(frame))
	}
	if !q.weak {
		q.alert()
	}
}

// alert passes the TLS alert in the reason of the connection's end to the handshake.
func (q *conn) alert() {
	if code := q.row.CloseCode.V; q.row.Close.V == "transport" && code >= cryptoError && code < cryptoError+0x100 {
		r := client
		if q.row.CloseBy.V == server.String() {
			r = server
		}
		q.shake.Alert(q.dir(r), uint8(code))
	}
}

// continued counts a packet with a short header after a CONNECTION_CLOSE in an Initial packet, which everyone can forge who
// saw the client's first packet (RFC 9001 section 7). If both sides continue, none has accepted it.
func (q *conn) continued(r role) {
	if !q.weak {
		return
	}
	if q.after[r]++; q.after[client] <= reordered || q.after[server] <= reordered {
		return
	}
	row := q.row
	q.t.anomaly("forged_close", "CONNECTION_CLOSE of the %s with %s in an Initial packet, but both sides continued", row.CloseBy.V, row.CloseName.V)
	none := table.Opt[string]{}
	row.Close, row.CloseBy, row.CloseName, row.CloseReason, row.CloseFrame, row.CloseCode = none, none, none, none, none, table.Opt[int64]{}
	q.weak, q.closedAt = false, 0
}

// reordered is how many packets of a side sent before its end may be captured after it.
const reordered = 3

// randomIn is the client's random in the frames of an Initial packet, or nil if it is not
// completely in one frame.
func randomIn(plain []byte) []byte {
	r := cursor.New(plain)
	for r.Left() > 0 {
		switch r.Uint8() {
		case framePadding, framePing:
			continue
		case frameCrypto:
		default:
			return nil
		}
		off, n := readVarint(&r), readVarint(&r)
		data := r.Bytes(int(min(n, 1<<30)))
		if r.Short() {
			return nil
		}
		if random := helloRandom(data); off == 0 && random != nil {
			return random
		}
	}
	return nil
}

// helloRandom is the random of a ClientHello (RFC 8446 section 4.1.2), or nil if data begins otherwise.
func helloRandom(data []byte) []byte {
	const before, size = messageHeader + 2, 32
	if len(data) < before+size || data[0] != handshake.TypeClientHello {
		return nil
	}
	return data[before : before+size]
}
