package tftp

import (
	"fmt"
	"strconv"
	"strings"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

const defaultBlock = 512 // bytes of a block, RFC 1350 section 2

const transferCost = int(unsafe.Sizeof(transfer{})+unsafe.Sizeof(Row{})) + 2*maxText

// transfer is an unfinished transfer.
type transfer struct {
	k      *conn
	x      dissect.Exchange
	row    *Row
	write  bool
	block  int // bytes of a block
	window int // blocks that are sent at once
	begun  bool
	last   bool   // the last block was captured
	next   uint16 // number of the next block
	acked  uint16 // number of the block that was acknowledged last
	starts bool   // the server should answer the options of a download, and the client acknowledge that
	lost   bool   // an acknowledgement was not captured
	body   *dissect.Body
	blocks int64
	again  int64

	expected dissect.Expected
	data     *dissect.Conn       // from the server's other port; nil until its first message
	carried  [2]dissect.Exchange // what the client and the server sent there
}

// begins reports whether a message may be the first of the transfer after the request.
func (t *transfer) begins(m *message, fromServer bool) bool {
	if t.begun {
		return true
	}
	switch m.op {
	case opError, opOack:
		return fromServer
	case opData:
		return fromServer && !t.write && m.number == 1 && len(m.data) <= t.block
	case opAck:
		return fromServer && t.write && m.number == 0
	}
	return false
}

// message reads a message.
func (t *transfer) message(m *message, fromServer bool) {
	t.begun = true
	switch m.op {
	case opOack:
		if fromServer {
			t.row.Options = show(m.options)
			t.agree(m.options, !t.write)
		}
	case opData:
		if fromServer != t.write {
			t.received(m)
		}
	case opAck:
		if fromServer == t.write {
			t.acknowledged(m.number)
		}
	case opError:
		t.failed(m, fromServer)
		t.k.end("")
	}
}

// agree reads the values of options. sized reports whether tsize is the size of the file, and not the question for it.
func (t *transfer) agree(list []option, sized bool) {
	for _, o := range list {
		n, err := strconv.ParseInt(o.value, 10, 64)
		switch {
		case err != nil || n < 0:
		case o.name == "blksize" && n >= 8 && n <= maxBlock:
			t.block = int(n)
			t.row.BlockSize = table.Some(int32(n))
		case o.name == "tsize" && sized:
			t.row.Size = table.Some(n)
		case o.name == "windowsize" && n >= 1 && n <= 65535:
			t.window = int(n)
		}
	}
}

// received reads a block. Block numbers begin again after 65535.
func (t *transfer) received(m *message) {
	ahead := int16(m.number - t.next)
	switch {
	case t.last, ahead < 0, ahead > 0 && t.window > 1: // of a window, the receiver asks for what is missing
		t.again++
		return
	case ahead > 0: // the receiver has acknowledged those before it
		t.body.Missing(int64(ahead) * int64(t.block))
	}
	if t.starts || int(m.number-t.acked) > t.window { // its sender waits for the acknowledgements
		t.lost = true
	}
	t.body.Write(m.data)
	if m.cut > 0 {
		t.body.Missing(int64(m.cut))
	}
	t.blocks++
	t.next = m.number + 1
	size := len(m.data) + m.cut
	if t.last = size < t.block; size > t.block {
		t.k.c.Anomaly("malformed", fmt.Sprintf("a block of %d bytes, but %d were agreed", size, t.block), 0)
	}
}

// acknowledged ends the transfer after its last block. Blocks that the receiver has and that were not captured are
// missing.
func (t *transfer) acknowledged(number uint16) {
	if ahead := int16(number - t.next); ahead >= 0 && !t.last {
		t.body.Missing((int64(ahead) + 1) * int64(t.block))
		t.next = number + 1
	}
	t.acked, t.starts = number, false
	if t.last && number == t.next-1 {
		t.k.end("")
	}
}

// failed reads an error. A client that asked for the size of a file needs no more (PXE).
func (t *transfer) failed(m *message, fromServer bool) {
	row := t.row
	row.StatusCode, row.StatusText = table.Some(int32(m.number)), table.NonEmpty(clip.Line(m.data, maxText))
	row.ErrorBy, row.Outcome = table.Some("server"), outcomes[m.number]
	if !fromServer {
		row.ErrorBy, row.Outcome = table.Some("client"), table.ClientError
		if t.blocks == 0 && row.Size.OK {
			row.Outcome = table.OK
		}
	}
}

// outcomes are those of the error codes, RFC 1350 section 5 and RFC 2347.
var outcomes = [...]string{table.ServerError, table.ClientError, table.Refused, table.ServerError, table.ClientError, table.ClientError, table.ClientError, table.Refused, table.ClientError}

// file sets the body of the transfer.
func (t *transfer) file() {
	if t.blocks == 0 && t.body.Lost() == 0 {
		return
	}
	t.body.Complete = t.last && t.body.Lost() == 0
	name := t.row.Path.V
	t.body.File = &dissect.File{Name: name[strings.LastIndexAny(name, `/\`)+1:], NamedBy: "path"}
	t.x.SetBody(!t.write, t.body)
	if t.body.Lost() > 0 && !t.row.Error.OK {
		t.row.Error, t.row.Complete = table.Some(string(dissect.LossGap)), false
	}
}

// announce expects a conversation with another port of the server.
func (t *transfer) announce() {
	c := t.k.c
	client, server, port := c.Info.Client, c.Info.Server, c.Info.ClientPort
	if c.Flipped() {
		client, server = server, client
	}
	t.expected = dissect.Expected{Transport: dissect.UDP, Opener: server, Listener: client, Port: port, Name: "tftp_data", New: t.begin}
	c.Expect(&t.expected)
}

// begin implements dissect.Expected.New.
func (t *transfer) begin(c *dissect.Conn) dissect.Dissector {
	x := &t.expected
	return &dataConn{t: t, c: c, reversed: c.Info.Client != x.Listener || c.Info.ClientPort != x.Port}
}

// dataConn is the conversation with the server's other port. Its messages belong to the row of the request.
type dataConn struct {
	dissect.Stateless
	t        *transfer
	c        *dissect.Conn
	reversed bool // the server sent first
	proved   bool
}

// Read implements dissect.Dissector.
func (d *dataConn) Read(in *dissect.Input) (int, error) {
	t := d.t
	if len(in.Data) == 0 {
		return 0, nil
	}
	m, ok := parse(in.Data)
	fromServer := (in.Dir == dissect.ToServer) == d.reversed
	if !ok || !d.proved && (t.data != nil || !t.begins(&m, fromServer)) {
		return 0, fmt.Errorf("reading a message: %d bytes are none of a transfer", len(in.Data))
	}
	if d.c.Confirm(); !d.proved {
		d.proved, t.data = true, d.c
	}
	if t.k.t != t { // it has ended: its last messages were sent again
		return len(in.Data), nil
	}
	from := 0
	if fromServer {
		from = 1
	}
	t.carried[from].Response(in, 0, len(in.Data))
	t.k.c.Resume(d.c)
	m.cut = int(in.Packet(0).Cut)
	t.message(&m, fromServer)
	return len(in.Data), nil
}

// Gap implements dissect.Dissector.
func (d *dataConn) Gap(*dissect.Input, int64) bool { return true }

// Close implements dissect.Dissector. A conversation of something else leaves the announcement for another one.
func (d *dataConn) Close(dissect.End) {
	t := d.t
	switch {
	case t.k.t != t:
	case !d.proved:
		t.announce()
	default:
		t.k.c.Resume(d.c)
		t.k.end("cut")
	}
}
