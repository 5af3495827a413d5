// Package tftp reads the Trivial File Transfer Protocol (RFC 1350) with its options (RFC 2347, 2348, 2349,
// 7440), and the files that it carries.
//
// A row is one transfer: the request, and the blocks that the server sends or gets from a port of its own.
//
// LIMIT: the conversation of the request is silent during a transfer. A transfer that takes longer
// than a silent conversation is kept is cut there.
package tftp

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Row is a transfer.
type Row struct {
	table.Call
	Mode      table.Opt[string] `col:"tftp_mode" enc:"dict" doc:"octet, netascii or mail, in lower case"`
	Options   []string          `col:"tftp_options" doc:"options that the server agreed to, else those of the request, as name=value; at most 16"`
	BlockSize table.Opt[int32]  `col:"tftp_block_size" unit:"bytes" doc:"size of a block: 512 unless option blksize changed it"`
	Size      table.Opt[int64]  `col:"tftp_size" unit:"bytes" doc:"size of the file, as the sender announced it in option tsize"`
	Blocks    table.Opt[int64]  `col:"tftp_blocks" doc:"blocks that were transferred, without those sent again"`
	Again     table.Opt[int64]  `col:"tftp_retransmitted" doc:"blocks that were sent again, or out of order"`
	ErrorBy   table.Opt[string] `col:"tftp_error_by" enc:"dict" doc:"side that ended the transfer with an error: client or server"`
}

// Protocol is TFTP.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "tftp",
		Doc:        "Trivial File Transfer Protocol, with the files",
		Versions:   "RFC 1350, options of RFC 2348, 2349 and 7440",
		Depth:      "all messages and files",
		Transports: []dissect.Transport{dissect.UDP},
		Ports:      []uint16{69},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
	}
}

// detect accepts requests. The messages of a transfer have too little in them; its port is announced.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	if _, ok := parseRequest(head); ok && dir == dissect.ToServer {
		return dissect.Yes
	}
	return dissect.No
}

// conn is the conversation of requests. Most servers send all else from another port.
type conn struct {
	c *dissect.Conn
	t *transfer // the latest, nil if it has ended
}

func newConn(c *dissect.Conn) dissect.Dissector { return &conn{c: c} }

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	b := in.Data
	if len(b) == 0 { // the end
		return 0, nil
	}
	if a, ok := parseRequest(b); ok && in.Dir == dissect.ToServer {
		k.request(in, &a)
		return len(b), nil
	}
	m, ok := parse(b)
	if !ok {
		return 0, fmt.Errorf("reading a message: %d bytes that begin with %#x are not one", len(b), b[:min(len(b), 4)])
	}
	if k.t == nil {
		return 0, fmt.Errorf("reading a message: operation %d without a transfer", m.op)
	}
	if k.t.data == nil && !k.t.begins(&m, in.Dir == dissect.ToClient) {
		return 0, fmt.Errorf("reading a message: operation %d does not begin a transfer", m.op)
	}
	k.t.x.Add(in, 0, len(b))
	m.cut = int(in.Packet(0).Cut)
	k.t.message(&m, in.Dir == dissect.ToClient)
	return len(b), nil
}

// request begins a transfer. The same request again is another attempt.
func (k *conn) request(in *dissect.Input, a *asked) {
	row := &Row{Mode: table.Some(a.mode), BlockSize: table.Some(int32(defaultBlock)), Options: show(a.options)}
	row.Method, row.Path = table.Some("RRQ"), table.Some(clip.Line([]byte(a.file), maxText))
	if a.write {
		row.Method = table.Some("WRQ")
	}
	if old := k.t; old != nil {
		if !old.begun && old.row.Method == row.Method && old.row.Path == row.Path {
			row.Attempt = table.Some(max(old.row.Attempt.V, 1) + 1)
		}
		k.end("no_response")
	}
	t := &transfer{k: k, row: row, write: a.write, block: defaultBlock, window: 1, next: 1, body: k.c.NewBody("", ""), starts: !a.write && len(a.options) > 0}
	t.agree(a.options, a.write)
	t.block, t.window = defaultBlock, 1 // until the server agrees
	t.x.Request(in, 0, len(in.Data))
	k.t = t
	t.announce()
}

// show lists options.
func show(list []option) (out []string) {
	for _, o := range list {
		out = append(out, clip.Line([]byte(o.name+"="+o.value), maxText))
	}
	return out
}

// Gap implements dissect.Dissector; datagrams have no gaps.
func (k *conn) Gap(*dissect.Input, int64) bool { return true }

// Resync implements dissect.Dissector.
func (k *conn) Resync(dissect.Dir, dissect.Loss) {}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	if k.t == nil {
		return 0
	}
	return transferCost
}

// Shed implements dissect.Dissector.
func (k *conn) Shed() bool {
	if k.t == nil {
		return false
	}
	if !k.t.body.Spill() {
		k.end("cut")
	}
	return true
}

// Close implements dissect.Dissector.
func (k *conn) Close(why dissect.End) {
	word := "no_response"
	if t := k.t; t != nil && t.begun || why == dissect.EndEvicted {
		word = "cut"
	}
	k.end(word)
}

// end emits the transfer. why is the value of column error, empty if it ended normally.
func (k *conn) end(why string) {
	t := k.t
	if t == nil {
		return
	}
	k.t = nil
	k.c.Unexpect(&t.expected)
	row := t.row
	row.Complete = why == "" && !t.lost
	if t.last { // at most acknowledgements are missing
		why = ""
	}
	row.Error = table.NonEmpty(why)
	if why == "" && row.Outcome == "" {
		row.Outcome = table.OK // also if blocks are missing
	}
	if t.begun {
		row.Blocks, row.Again = table.Some(t.blocks), table.Some(t.again)
	}
	t.file()
	for side := range t.carried {
		t.x.Carried(k.c, &t.carried[side], side == 1)
	}
	row.Summary = row.Method.V + " " + row.Path.V + " → " + t.result(why)
	k.c.Emit(&t.x, row)
}

// result is how the transfer ended, in a few words.
func (t *transfer) result(why string) string {
	row := t.row
	switch {
	case row.ErrorBy.OK:
		return strings.TrimSpace(strconv.Itoa(int(row.StatusCode.V)) + " " + row.StatusText.V)
	case why != "":
		return why
	}
	return clip.Count(t.body.Size(), "byte", "bytes")
}
