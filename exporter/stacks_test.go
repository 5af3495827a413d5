package exporter

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/all"
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/internal/read"
	"github.com/pcapsule/pcapsule/exporter/internal/round"
)

// stacksFolder holds captures of TLS, DTLS and QUIC from many programs, with the data that those
// programs sent; see samples/README.md.
const stacksFolder = "../samples/secrets"

// stackRow is a line of INDEX.tsv: what a connection, or a stream of one, carried.
type stackRow struct {
	keys, stream, layer, protocol, what, state string
	conn                                       int
	sent                                       [2]string // length and SHA-256, from client and server
}

func readStacks(t *testing.T) (files []string, rows map[string][]stackRow) {
	t.Helper()
	f, err := os.Open(filepath.Join(stacksFolder, "INDEX.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows = map[string][]stackRow{}
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.HasPrefix(s.Text(), "#") {
			continue
		}
		c := strings.Split(s.Text(), "\t")
		if len(c) != 16 {
			t.Fatalf("INDEX.tsv: %q has %d columns, want 16", s.Text(), len(c))
		}
		n, err := strconv.Atoi(c[2])
		if err != nil {
			t.Fatalf("INDEX.tsv: %v in %q", err, s.Text())
		}
		if rows[c[0]] == nil {
			files = append(files, c[0])
		}
		rows[c[0]] = append(rows[c[0]], stackRow{keys: c[1], conn: n, stream: c[3], layer: c[4], protocol: c[8], what: c[9], state: c[14],
			sent: [2]string{c[10] + " " + c[11], c[12] + " " + c[13]}})
	}
	return files, rows
}

// stackConn is the decrypted content of a connection.
type stackConn struct {
	first   int64       // ns
	ends    [2]flow.End // client and server
	state   string
	reason  string
	streams map[int64]*[2][]byte // plaintext from client and server; -1 if there are no streams
	shakes  string               // summaries of its TLS handshakes
}

// openCapture returns the encrypted connections of a capture, ordered by first packet.
func openCapture(ctx context.Context, path string, o Options) ([]*stackConn, error) {
	sources, err := read.Open([]string{path}, nil)
	if err != nil {
		return nil, err
	}
	defer sources.Close()
	keys, err := read.LoadKeys(sources, o.Keys, o.Identities)
	if err != nil {
		return nil, err
	}
	defer keys.Store.Close()
	var list []*stackConn
	open := map[flow.ID]*stackConn{}
	protocols := func() []*dissect.Protocol { return all.Protocols(keys.Store) }
	_, err = pipe(ctx, o.reads(sources, nil, protocols), !o.trace, protocols, o, func(r *round.Round) error {
		for s := range r.Out {
			b := &r.Out[s]
			for i := range b.Started {
				if f := &b.Started[i]; f.NewConn {
					open[f.Conn] = &stackConn{first: f.ConnFirst, ends: f.Dialled, streams: map[int64]*[2][]byte{}}
				}
			}
			for i := range b.Plain {
				p := &b.Plain[i]
				x, side := open[p.Conn], 0
				if p.Server {
					side = 1
				}
				if x.streams[p.Stream] == nil {
					x.streams[p.Stream] = new([2][]byte)
				}
				x.streams[p.Stream][side] = append(x.streams[p.Stream][side], b.PlainBytes(p)...)
			}
			for i := range b.Calls {
				if c := b.Calls[i].Row.Base(); c.Protocol == "tls" {
					open[b.Calls[i].Conn].shakes += c.Summary + "; "
				}
			}
			for i := range b.Conns {
				if row := b.Conns[i].Row; row.Encryption.OK {
					x := open[b.Conns[i].Conn]
					x.state, x.reason = row.KeyState.V, row.KeyReason.V
					list = append(list, x)
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b *stackConn) int { return cmp.Compare(a.first, b.first) })
	return list, nil
}

// TestStacksAreOpenedToTheByte decrypts conversations of OpenSSL, GnuTLS, nginx, curl,
// crypto/tls and quic-go, and compares the result with the data that they sent.
func TestStacksAreOpenedToTheByte(t *testing.T) {
	files, rows := readStacks(t)
	for _, file := range files {
		t.Run(file, func(t *testing.T) {
			o := Options{Repanic: true, Jobs: 1}
			if k := rows[file][0].keys; k != "-" {
				o.Keys = []string{filepath.Join(stacksFolder, k)}
			}
			conns, err := openCapture(t.Context(), filepath.Join(stacksFolder, file), o)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range rows[file] {
				r.check(t, conns)
			}
		})
	}
}

// TestStacksStayShutWithoutTheirKeys reads every capture without keys, with those of another
// capture, and with its own after a digit of every secret was changed: nothing may be decrypted.
func TestStacksStayShutWithoutTheirKeys(t *testing.T) {
	files, rows := readStacks(t)
	scratch := filepath.Join(t.TempDir(), "changed.keylog")
	for i, file := range files {
		own, other := rows[file][0].keys, rows[files[(i+1)%len(files)]][0].keys
		if own == "-" || other == "-" {
			continue
		}
		keys := map[string][]string{"no keys": nil, "another's keys": {filepath.Join(stacksFolder, other)}}
		if filepath.Ext(other) == ".key" {
			delete(keys, "another's keys") // the same server's
		}
		if filepath.Ext(own) == ".keylog" {
			text, err := os.ReadFile(filepath.Join(stacksFolder, own))
			if err != nil {
				t.Fatal(err)
			}
			var changed []byte
			for line := range bytes.Lines(text) {
				digit := len(line) - 3
				line = bytes.Clone(line)
				if line[digit] ^= 1; !strings.ContainsRune("0123456789abcdefABCDEF", rune(line[digit])) {
					line[digit] = '0'
				}
				changed = append(changed, line...)
			}
			if err := os.WriteFile(scratch, changed, 0o600); err != nil {
				t.Fatal(err)
			}
			keys["changed keys"] = []string{scratch}
		}
		for about, list := range keys {
			conns, err := openCapture(t.Context(), filepath.Join(stacksFolder, file), Options{Repanic: true, Jobs: 1, Keys: list})
			if err != nil {
				t.Fatalf("%s with %s: %v", file, about, err)
			}
			for n, x := range conns {
				if x.state == "verified" || len(x.streams) > 0 {
					t.Errorf("%s with %s: connection %d has key state %s and %d streams of plaintext", file, about, n+1, x.state, len(x.streams))
				}
			}
		}
	}
}

func (r *stackRow) check(t *testing.T, conns []*stackConn) {
	t.Helper()
	if len(conns) < r.conn && r.state == "none" {
		return // not even detected as encrypted
	}
	if len(conns) < r.conn {
		t.Fatalf("%d encrypted connections, want at least %d", len(conns), r.conn)
	}
	x := conns[r.conn-1]
	where := fmt.Sprintf("connection %d, stream %s", r.conn, r.stream)
	if x.state != r.state {
		t.Errorf("%s: key state %s (%s), want %s", where, x.state, x.reason, r.state)
	}
	stream := int64(-1)
	if r.layer == "quic" {
		n, err := strconv.ParseInt(r.stream, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		stream = n
	}
	var got [2][]byte
	if s := x.streams[stream]; s != nil {
		got = *s
	}
	if r.state != "verified" {
		if n := len(got[0]) + len(got[1]); n > 0 {
			t.Errorf("%s: %d bytes came out without a key that opens it", where, n)
		}
		return
	}
	for side, name := range [2]string{"client", "server"} {
		b := got[side]
		if r.what == "bodies" {
			b = bodiesOf(r, b)
		}
		if is := fmt.Sprintf("%d %x", len(b), sha256.Sum256(b)); is != r.sent[side] {
			t.Errorf("%s: what the %s sent is %s (%.80q), want %s; key state %s (%s)", where, name, is, b, r.sent[side], x.state, x.reason)
		}
	}
}

// bodiesOf is the content of the DATA frames of a stream: for HTTP/2 from a connection's bytes,
// for HTTP/3 from the stream's own.
func bodiesOf(r *stackRow, b []byte) (out []byte) {
	if r.protocol == "http2" {
		b = bytes.TrimPrefix(b, []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
		for len(b) >= 9 {
			n := 9 + (int(b[0])<<16 | int(b[1])<<8 | int(b[2]))
			if len(b) < n {
				return out
			}
			if b[3] == 0 && strconv.Itoa(int(binary.BigEndian.Uint32(b[5:])&^(1<<31))) == r.stream {
				out = append(out, b[9:n]...)
			}
			b = b[n:]
		}
		return out
	}
	for len(b) > 0 {
		kind, n := quicNumber(b)
		size, m := quicNumber(b[n:])
		if n == 0 || m == 0 || uint64(len(b)-n-m) < size {
			return out
		}
		b = b[n+m:]
		if kind == 0 {
			out = append(out, b[:size]...)
		}
		b = b[size:]
	}
	return out
}

// quicNumber reads a variable-length number; n is 0 if it is truncated.
func quicNumber(b []byte) (v uint64, n int) {
	if len(b) == 0 {
		return 0, 0
	}
	if n = 1 << (b[0] >> 6); len(b) < n {
		return 0, 0
	}
	v = uint64(b[0] & 0x3f)
	for _, c := range b[1:n] {
		v = v<<8 | uint64(c)
	}
	return v, n
}
