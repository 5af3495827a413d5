package nfs

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// TestFiles puts files together from reads and writes of each version.
func TestFiles(t *testing.T) {
	text := "0123456789"
	find := chunks{client(ask3(1, 3, be("dir1", "list.txt"))), server(reply3(1, be(0, "file", attributes, 0)))}
	read3 := func(xid, at, eof int, s string) chunks {
		return chunks{client(ask3(xid, 6, be("file", int64(at), len(s)))), server(reply3(xid, be(0, attributes, len(s), eof, s)))}
	}
	write3 := func(xid, at int, s string, status int) chunks {
		return chunks{client(ask3(xid, 7, be("file", int64(at), len(s), 0, s))), server(reply3(xid, be(status, 0, 0, len(s), 0, int64(1))))}
	}
	commit := chunks{client(ask3(90, 21, be("file", int64(0), 0))), server(reply3(90, be(0, 0, 0, int64(1))))}
	read4 := func(xid, at, eof int, s string) chunks {
		return chunks{client(compound(xid, 3, sequence+be(22, "file", 25, state, int64(at), len(s)))), server(compounded(xid, 0, 3, sequenced+be(22, 0, 25, 0, eof, s)))}
	}
	close4 := chunks{client(compound(91, 3, sequence+be(22, "file", 4, 0, state))), server(compounded(91, 0, 3, sequenced+be(22, 0, 4, 0, state)))}
	fattr2 := raw(zeros(20) + string([]byte{0, 0, 0, 10}) + zeros(44))
	list := func(parts ...chunks) (all chunks) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	for _, c := range []struct {
		name   string
		chunks chunks
		want   string
	}{
		{"NFS 3, in order", list(find, read3(2, 0, 0, text[:4]), read3(3, 4, 1, text[4:])), "NFS READ response list.txt 10 complete=true"},
		{"NFS 3, out of order", list(find, read3(2, 4, 1, text[4:]), read3(3, 0, 0, text[:4])), "NFS READ response list.txt 10 complete=true"},
		{"NFS 3, the end only", list(find, read3(2, 4, 1, text[4:])), "NFS TRANSFER response list.txt 6 complete=false cut at 4"},
		{"NFS 3, written", list(find, write3(2, 0, text, 0), commit), "NFS COMMIT request list.txt 10 complete=true"},
		{"NFS 3, written without a commit", list(find, write3(2, 0, text, 0)), "NFS TRANSFER request list.txt 10 complete=false cut"},
		{"NFS 3, a write that fails", list(find, write3(2, 0, text, 28), commit), "NFS COMMIT request list.txt 10 complete=false cut"},
		{"NFS 4, read and closed", list(read4(2, 0, 0, text[:4]), read4(3, 4, 1, text[4:]), close4), "NFS CLOSE response  10 complete=true"},
		{"NFS 4, a part", list(read4(2, 0, 0, text[:4]), close4), "NFS CLOSE response  4 complete=false range at 0"},
		{"NFS 2", chunks{client(record(ask(1, nfs, 2, 6, be(raw("file"+zeros(28)), 0, 10, 0)))), server(record(reply(1, be(0, fattr2, text))))}, "NFS READ response  10 complete=true"},
	} {
		r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), c.chunks...)
		if got := strings.Join(objects(r), "; "); got != c.want || r.Held != 0 {
			t.Errorf("%s:\n%s, want\n%s; %d bytes held, anomalies %v", c.name, got, c.want, r.Held, r.Anomalies)
		}
	}
	o := dissecttest.OptionsOf(Protocol())
	o.Transport = dissect.UDP
	r := dissecttest.Play(t, o, client(ask(1, nfs, 3, 6, be("file", int64(0), 10))), server(reply(1, be(0, attributes, 10, 1, text))))
	if got := strings.Join(objects(r), "; "); got != "NFS READ response  10 complete=true" {
		t.Errorf("in datagrams: %s", got)
	}
}

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
			list = append(list, s)
		}
	}
	return list
}

// TestManyFiles reads more files than are put together at a time; each is listed.
func TestManyFiles(t *testing.T) {
	all := chunks{}
	for i := range maxFiles + 10 {
		h := fmt.Sprintf("%04d", i)
		all = append(all, client(ask3(i, 6, be(h, int64(5), 4))), server(reply3(i, be(0, attributes, 4, 0, "data"))))
	}
	r := dissecttest.Play(t, dissecttest.OptionsOf(Protocol()), all...)
	if n := len(objects(r)); n != maxFiles+10 || r.Held != 0 {
		t.Errorf("%d files, %d bytes held", n, r.Held)
	}
}
