package smb

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// content is what the file of these tests has.
var content = func() string {
	var b strings.Builder
	for i := 0; b.Len() < 5000; i++ {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()[:5000]
}()

func writeAsk(id, at int, data string) string {
	return ask(write2, id, le(uint16(49), uint16(112), uint32(len(data)), uint64(at), fid, zeros(16), data))
}
func writeReply(id, status int) string {
	return reply(write2, id, status, le(uint16(17), uint16(0), uint32(0), zeros(8)))
}
func readData(id, from, to int) string {
	return reply(read2, id, 0, le(uint16(17), byte(80), byte(0), uint32(to-from), uint64(0), content[from:to]))
}

// reads are a read of the file, from and to positions, with its answer.
func reads(id, from, to int) chunks {
	return chunks{client(frame(readAsk(id, to-from, from))), server(frame(readData(id, from, to)))}
}

func writes(id, at int, data string) chunks {
	return chunks{client(frame(writeAsk(id, at, data))), server(frame(writeReply(id, 0)))}
}

// TestFiles puts files together from pieces: in order and not, twice, with holes and gaps.
func TestFiles(t *testing.T) {
	opens := chunks{client(frame(treeAsk(1, `\\files\public`))), server(frame(treeReply(1, 1))), client(frame(createAsk(2, `a\list.txt`))), server(frame(createReply(2)))}
	closes := chunks{client(frame(closeAsk(90, fid))), server(frame(closeReply(90)))}
	pipe := chunks{client(frame(treeAsk(1, `\\files\IPC$`))), server(frame(treeReply(1, 2))), client(frame(createAsk(2, `pipe`))), server(frame(createReply(2)))}
	list := func(parts ...chunks) (all chunks) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	gap := func(from, lost, to int) chunks { // an answer without bytes of its middle
		s := frame(readData(5, from, to))
		cut := len(s) - (to - from) + lost
		return chunks{client(frame(readAsk(5, to-from, from))), server(s[:cut]), {Dir: 1, Gap: 100, Data: []byte(s[cut+100:])}}
	}
	for _, c := range []struct {
		name   string
		chunks chunks
		want   string
	}{
		{"in order", list(opens, reads(4, 0, 2000), reads(5, 2000, 5000), closes), "CLOSE response list.txt 5000 complete=true " + sum(content)},
		{"out of order", list(opens, reads(4, 4000, 5000), reads(5, 2000, 4000), reads(6, 0, 2000), closes), "CLOSE response list.txt 5000 complete=true " + sum(content)},
		{"answers out of order", list(opens, chunks{client(frame(readAsk(4, 2500, 0))), client(frame(readAsk(5, 2500, 2500))), server(frame(readData(5, 2500, 5000))), server(frame(readData(4, 0, 2500)))}, closes), "CLOSE response list.txt 5000 complete=true " + sum(content)},
		{"twice, and overlapping", list(opens, reads(4, 0, 3000), reads(5, 0, 3000), reads(6, 1000, 5000), closes), "CLOSE response list.txt 5000 complete=true " + sum(content)},
		{"with a hole", list(opens, reads(4, 0, 1000), reads(5, 2000, 5000), closes), "CLOSE response list.txt 4000 complete=false hole " + sum(content[:1000]+content[2000:])},
		{"the beginning only", list(opens, reads(4, 0, 1000), closes), "CLOSE response list.txt 1000 complete=false range at 0 " + sum(content[:1000])},
		{"the end only", list(opens, reads(4, 1000, 5000), closes), "CLOSE response list.txt 4000 complete=false range at 1000 " + sum(content[1000:])},
		{"with a gap", list(opens, gap(0, 1000, 5000), closes), "CLOSE response list.txt 4900 complete=false gap " + sum(content[:1000]+content[1100:])},
		{"a gap that is read again", list(opens, gap(0, 1000, 5000), reads(6, 1000, 1100), closes), "CLOSE response list.txt 5000 complete=true " + sum(content)},
		{"not closed", list(opens, reads(4, 0, 5000)), "TRANSFER response list.txt 5000 complete=false cut " + sum(content)},
		{"written", list(opens, writes(4, 0, content), closes), "CLOSE request list.txt 5000 complete=true " + sum(content)},
		{"written, a part of it", list(opens, writes(4, 0, content[:100]), closes), "CLOSE request list.txt 100 complete=false range at 0 " + sum(content[:100])},
		{"written twice", list(opens, writes(4, 0, content), writes(5, 0, content[:5]), closes), "CLOSE request list.txt 5000 complete=true " + sum(content)},
		{"written again, and differently", list(opens, writes(4, 0, content), writes(5, 0, "other"), closes), "CLOSE request list.txt 5000 complete=false rewritten " + sum(content)},
		{"a write is refused", list(opens, chunks{client(frame(writeAsk(4, 0, content))), server(frame(reply(write2, 4, 0xc000007f, failure)))}, closes), "CLOSE request list.txt 5000 complete=false cut " + sum(content)},
		{"a pipe", list(pipe, writes(4, 0, content), closes), ""},
		{"a position beyond all", list(opens, writes(4, 1<<62, "x"), writes(5, -5, "y"), closes), "CLOSE request list.txt 1 complete=false range at 4611686018427387904 " + sum("x")},
	} {
		r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), c.chunks...)
		if got := strings.Join(objects(r), "; "); got != c.want || r.Held != 0 {
			t.Errorf("%s:\n%s, want\n%s; %d bytes held, anomalies %v", c.name, got, c.want, r.Held, r.Anomalies)
		}
	}
}

func sum(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s)))[:8] }

func objects(r *dissecttest.Result) (list []string) {
	for _, e := range r.Emissions {
		for _, o := range e.Objects {
			s := fmt.Sprintf("%s %s %s %d complete=%v", e.Row.Base().Method.V, o.Side, o.Name.V, o.Size, o.Complete)
			if o.Why.OK {
				s += " " + o.Why.V
			}
			if o.FileFrom.OK {
				s += fmt.Sprintf(" at %d", o.FileFrom.V)
			}
			list = append(list, s+fmt.Sprintf(" %x", o.SHA256[:4]))
		}
	}
	return list
}

// TestManyFiles opens more files than are known at a time, and lets one wait for bytes that never come. No byte of
// memory stays, and each file is listed.
func TestManyFiles(t *testing.T) {
	all := chunks{}
	for i := range maxKnown + 10 {
		id := le(uint64(i), uint64(1))
		all = append(all, client(frame(ask(create2, 2, le(uint16(57), zeros(22), uint32(0x81), uint32(0), uint32(7), uint32(1), uint32(0), uint16(120), uint16(2), uint32(0), uint32(0), "x\x00")))),
			server(frame(reply(create2, 2, 0, le(uint16(89), uint16(0), uint32(1), zeros(40), uint64(0), uint32(0), uint32(0), id, zeros(8))))),
			client(frame(ask(write2, 3, le(uint16(49), uint16(112), uint32(9), uint64(5), id, zeros(16), "some text")))), server(frame(writeReply(3, 0))))
	}
	o := dissecttest.OptionsOf(Protocol())
	o.Budget = 4 << 20
	r := dissecttest.Play(t, o, all...)
	if n := len(objects(r)); n != maxKnown+10 || r.Held != 0 {
		t.Errorf("%d files, %d bytes held", n, r.Held)
	}
}

// TestLargeFileOutOfOrder reads a file backwards, so that all bytes would have to wait.
func TestLargeFileOutOfOrder(t *testing.T) {
	all := chunks{}
	data := strings.Repeat("0123456789abcdef", 4096)
	for i := 39; i >= 0; i-- {
		all = append(all, client(frame(readAsk(3, len(data), i*len(data)))), server(frame(reply(read2, 3, 0, le(uint16(17), byte(80), byte(0), uint32(len(data)), uint64(0), data)))))
	}
	r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), append(all, client(frame(closeAsk(4, fid))), server(frame(closeReply(4))))...)
	var o table.Object
	for _, e := range r.Emissions {
		for _, o = range e.Objects {
		}
	}
	if o.Complete || !o.FileFrom.OK || o.Size > 40*int64(len(data)) || r.Held != 0 {
		t.Errorf("%+v, %d bytes held", o, r.Held)
	}
}
