// Package openvpn reads the control channel of OpenVPN over UDP and TCP: the resets that begin a
// session, and the TLS handshake inside its control packets, which is read as TLS.
//
// A row is a session. Its data packets are counted and not cited. With tls-crypt, all of the
// control channel except its headers is encrypted and not read. The format is that of OpenVPN 2.6,
// https://openvpn.net/community-resources/openvpn-protocol/.
package openvpn

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Row is a session.
type Row struct {
	table.Call
	ClientSession  table.Opt[string] `col:"openvpn_client_session" doc:"session id of the client, hexadecimal"`
	ServerSession  table.Opt[string] `col:"openvpn_server_session" doc:"session id of the server, hexadecimal"`
	Protection     table.Opt[string] `col:"openvpn_protection" enc:"dict" doc:"protection of the control channel: none, tls-auth (signed), tls-crypt or tls-crypt-v2 (encrypted)"`
	Renegotiations int64             `col:"openvpn_renegotiations" doc:"soft resets, each of which negotiates new keys"`
	Lost           bool              `col:"openvpn_control_lost" doc:"control packets are missing, so the TLS inside is incomplete"`
	ClientPackets  int64             `col:"openvpn_client_data_packets" unit:"packets" doc:"data packets of the client; not in request_bytes and not cited"`
	ClientBytes    int64             `col:"openvpn_client_data_bytes" unit:"bytes" doc:"bytes of the client's data packets, with their headers"`
	ServerPackets  int64             `col:"openvpn_server_data_packets" unit:"packets" doc:"data packets of the server; not in response_bytes and not cited"`
	ServerBytes    int64             `col:"openvpn_server_data_bytes" unit:"bytes" doc:"bytes of the server's data packets, with their headers"`
}

// Protocol is OpenVPN.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "openvpn",
		Doc:        "OpenVPN: sessions, their protection, and the TLS of the control channel",
		Versions:   "2.0 to 2.6",
		Depth:      "resets, control packets, the TLS in them unless tls-crypt encrypts it; data is counted",
		Transports: []dissect.Transport{dissect.UDP, dissect.TCP},
		Ports:      []uint16{1194},
		Detect:     detect,
		Resume:     resume,
		Doubts:     doubts,
		New:        newConn,
		Row:        &Row{},
		Traits:     table.Traits{Carrier: true, Encrypts: true},
	}
}

// conn is the state of a conversation.
type conn struct {
	c        *dissect.Conn
	x        dissect.Exchange
	row      *Row // nil between sessions
	sessions [2][idSize]byte
	format   format
	keys     [maxKeys]*exchange
	key      int  // of the latest negotiation
	begun    bool // the first packet of the client was captured
	answered bool // and the server's reset names it
	why      string
	held     int
}

const (
	maxKeys    = 8  // key ids have 3 bits
	maxPending = 32 // control packets that wait for an earlier one
	maxControl = 1 << 16
	connCost   = int(unsafe.Sizeof(conn{}) + unsafe.Sizeof(Row{}) + maxKeys*unsafe.Sizeof(exchange{}))
)

// exchange is the negotiation of one key: the packets of both sides are one TLS connection.
type exchange struct {
	inner   *dissect.Conn
	next    [2]uint32
	pending [2]map[uint32]piece
	lost    bool
}

// piece is a control packet that came before an earlier one.
type piece struct {
	data []byte
	at   dissect.Packet
}

func newConn(c *dissect.Conn) dissect.Dissector { return &conn{c: c} }

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	if in.Datagram {
		if len(in.Data) == 0 {
			return 0, nil
		}
		return len(in.Data), k.packet(in, 0, len(in.Data))
	}
	at := 0
	for len(in.Data)-at >= 2 {
		n := 2 + int(binary.BigEndian.Uint16(in.Data[at:]))
		if len(in.Data)-at < n {
			k.c.Need(in.Dir, at+n)
			break
		}
		if err := k.packet(in, at+2, at+n); err != nil {
			return at, err
		}
		at += n
	}
	return at, nil
}

// packet reads in.Data[from:to], one packet.
func (k *conn) packet(in *dissect.Input, from, to int) error {
	b := in.Data[from:to]
	if len(b) == 0 || opNames[b[0]>>3] == "" {
		return fmt.Errorf("reading a packet: %d bytes with an unknown opcode", len(b))
	}
	op, key := b[0]>>3, int(b[0]&7)
	if op == dataV1 || op == dataV2 {
		k.data(in.Dir, len(b))
		return nil
	}
	if len(b) < 1+idSize {
		return fmt.Errorf("reading %s: %d bytes are too few", opNames[op], len(b))
	}
	id := [idSize]byte(b[1:])
	if isHardReset(op) {
		if err := k.reset(in, op, id, b); err != nil {
			return err
		}
	}
	if k.row == nil {
		k.begin()
	}
	if k.sessions[in.Dir] == [idSize]byte{} {
		k.sessions[in.Dir] = id
	}
	if id != k.sessions[in.Dir] {
		return fmt.Errorf("reading %s: it is of another session", opNames[op])
	}
	first := from
	if !in.Datagram {
		first -= 2
	}
	k.x.Add(in, first, to)
	return k.control(in, op, key, from, to)
}

// reset handles the packet that begins a session. A client that sends another session id starts again.
func (k *conn) reset(in *dissect.Input, op byte, id [idSize]byte, b []byte) error {
	f, ok := formatOf(op, b)
	if server := op == hardResetServerV1 || op == hardResetServerV2; !ok || server != (in.Dir == dissect.ToClient) {
		return fmt.Errorf("reading %s: %d bytes from the %s are not one", opNames[op], len(b), in.Dir.Sender())
	}
	if in.Dir == dissect.ToServer && k.row != nil && k.sessions[in.Dir] != id && k.sessions[in.Dir] != [idSize]byte{} {
		k.emit("no_response")
	}
	if k.row == nil {
		k.begin()
	}
	if in.Dir == dissect.ToServer && k.sessions[in.Dir] == [idSize]byte{} {
		k.begun = true
	}
	if k.format == unknown {
		k.format = f
	}
	if in.Dir == dissect.ToClient && k.sessions[dissect.ToServer] != [idSize]byte{} && (k.format != plain || remoteOf(b) == k.sessions[dissect.ToServer]) {
		k.answered = true
		k.c.Confirm()
	}
	return nil
}

// doubts doubts that datagrams are OpenVPN until a server has answered: any other text may begin like data. A control
// packet must be of the session.
func doubts(d dissect.Dissector, datagram []byte) dissect.Verdict {
	k := d.(*conn)
	if k.answered || len(datagram) == 0 {
		return dissect.No
	}
	switch op := datagram[0] >> 3; {
	case op == dataV1 || op == dataV2:
		return dissect.Likely
	case opNames[op] == "" || len(datagram) < 1+idSize:
		return dissect.Yes
	case isHardReset(op):
		if _, ok := formatOf(op, datagram); ok {
			return dissect.No
		}
		return dissect.Yes
	}
	if id := [idSize]byte(datagram[1:]); id == k.sessions[0] || id == k.sessions[1] || k.sessions == [2][idSize]byte{} {
		return dissect.No
	}
	return dissect.Likely // a server whose reset was not captured has an id of its own
}

func (k *conn) begin() {
	k.row, k.format, k.key, k.begun, k.sessions = &Row{}, unknown, 0, false, [2][idSize]byte{}
	k.row.Method = table.Some("CONNECT")
}

// data counts a data packet.
func (k *conn) data(dir dissect.Dir, n int) {
	if k.row == nil {
		return
	}
	if dir == dissect.ToServer {
		k.row.ClientPackets++
		k.row.ClientBytes += int64(n)
	} else {
		k.row.ServerPackets++
		k.row.ServerBytes += int64(n)
	}
}

// control passes the TLS of a control packet to its connection, in the order of the packets.
func (k *conn) control(in *dissect.Input, op byte, key, from, to int) error {
	if op == softReset && key != k.key { // the first of both sides
		k.endKey(key, dissect.EndReuse)
		k.key = key
		k.row.Renegotiations++
	}
	if k.format == unknown || k.format == crypted || k.format == cryptedV2 {
		return nil
	}
	m, ok := parseControl(op, k.format, in.Data[from:to])
	if !ok {
		return fmt.Errorf("reading %s: its acknowledgements are longer than the packet", opNames[op])
	}
	if op == ack {
		return nil
	}
	e := k.keys[key]
	if e == nil {
		e = &exchange{}
		k.keys[key] = e
	}
	switch ahead := m.id - e.next[in.Dir]; {
	case e.lost, int32(ahead) < 0: // repeated
	case ahead > 0:
		k.wait(e, in, m.id, from+m.at, to)
	default:
		k.pass(e, in, from+m.at, to)
	}
	return nil
}

// wait keeps a packet until those before it come.
func (k *conn) wait(e *exchange, in *dissect.Input, id uint32, from, to int) {
	p := e.pending[in.Dir]
	if p == nil {
		p = map[uint32]piece{}
		e.pending[in.Dir] = p
	}
	if _, repeated := p[id]; repeated {
		return
	}
	if len(p) == maxPending || k.held+to-from > maxControl || !k.c.Hold(to-from) {
		k.lose(e)
		return
	}
	k.held += to - from
	at := in.Packet(from)
	at.Also = append([]int64(nil), at.Also...)
	p[id] = piece{append([]byte(nil), in.Data[from:to]...), at}
}

// lose drops the TLS of an exchange.
func (k *conn) lose(e *exchange) {
	e.lost, k.row.Lost = true, true
	k.c.Anomaly("control_lost", "control packets are missing: the TLS inside is not read any further", 0)
	k.forget(e)
	if e.inner != nil {
		e.inner.Gap(dissect.ToServer, dissect.LostAll, k.c.Now())
		e.inner.Gap(dissect.ToClient, dissect.LostAll, k.c.Now())
	}
}

// pass passes the content of a packet and of those that waited for it.
func (k *conn) pass(e *exchange, in *dissect.Input, from, to int) {
	if e.inner == nil && to > from {
		if e.inner = k.c.NewTunnel("tls", nil); e.inner == nil {
			e.lost = true
			return
		}
	}
	if to > from {
		e.inner.Carry(in, from, to)
	}
	for e.next[in.Dir]++; ; e.next[in.Dir]++ {
		p, ok := e.pending[in.Dir][e.next[in.Dir]]
		if !ok {
			return
		}
		delete(e.pending[in.Dir], e.next[in.Dir])
		k.held -= len(p.data)
		k.c.Release(len(p.data))
		if e.inner != nil {
			e.inner.Data(in.Dir, p.data, p.at)
		}
	}
}

// forget drops what waits.
func (k *conn) forget(e *exchange) {
	for d := range e.pending {
		for _, p := range e.pending[d] {
			k.held -= len(p.data)
			k.c.Release(len(p.data))
		}
		e.pending[d] = nil
	}
}

// endKey ends the TLS of a key.
func (k *conn) endKey(key int, why dissect.End) {
	e := k.keys[key]
	if e == nil {
		return
	}
	if len(e.pending[0])+len(e.pending[1]) > 0 {
		k.lose(e)
	}
	if k.keys[key] = nil; e.inner != nil {
		e.inner.Close(why, k.c.Now())
	}
}

// Gap implements dissect.Dissector; packets of a stream with a gap between them cannot be
// separated.
func (k *conn) Gap(in *dissect.Input, _ int64) bool { return in.Datagram }

// Resync implements dissect.Dissector.
func (k *conn) Resync(_ dissect.Dir, why dissect.Loss) {
	if k.c.Starting() {
		return
	}
	k.why = string(why)
	for _, e := range k.keys {
		if e != nil && !e.lost && k.row != nil {
			k.lose(e)
		}
	}
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int { return connCost }

// Shed implements dissect.Dissector: it frees waiting packets, else the TLS inside, else the
// session.
func (k *conn) Shed() bool {
	for _, e := range k.keys {
		if e != nil && len(e.pending[0])+len(e.pending[1]) > 0 {
			k.lose(e)
			return true
		}
		if e != nil && e.inner != nil && e.inner.Shed() {
			return true
		}
	}
	if k.row == nil {
		return false
	}
	k.emit("cut")
	return true
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	word := why.CallError()
	if k.c.Info.Transport == dissect.UDP && why != dissect.EndEvicted {
		word = "no_response"
	}
	if k.row != nil {
		k.end(word, why)
	}
}

func (k *conn) emit(why string) { k.end(why, dissect.EndReuse) }

// end emits the row of a session. why is the reason if it has no answer.
func (k *conn) end(why string, how dissect.End) {
	for key := range k.keys {
		k.endKey(key, how)
	}
	row := k.row
	switch {
	case !k.x.HasRequest() && !k.x.HasResponse(): // data alone
		k.row = nil
		return
	case k.why != "":
		why = k.why
	case !k.x.HasRequest():
		why = "no_request"
	case !k.begun, row.Lost:
		why = string(dissect.LossGap)
	case k.x.HasResponse() && why != "cut":
		why = ""
	}
	for d, to := range [...]*table.Opt[string]{&row.ClientSession, &row.ServerSession} {
		if id := k.sessions[d]; id != [idSize]byte{} {
			*to = table.Some(hex.EncodeToString(id[:]))
		}
	}
	row.Protection = table.NonEmpty(k.format.String())
	row.Error, row.Complete = table.NonEmpty(why), why == ""
	row.Summary = "CONNECT " + row.ClientSession.V + " → "
	switch {
	case why != "":
		row.Summary += why
	case row.Protection.OK && k.format != plain:
		row.Summary += row.ServerSession.V + ", " + row.Protection.V
	default:
		row.Summary += row.ServerSession.V
	}
	k.c.Emit(&k.x, row)
	k.row, k.x, k.why = nil, dissect.Exchange{}, ""
}
