package quic

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/captures"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/tls"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// storeOf holds the secrets of a capture and of the key log next to it.
func storeOf(t testing.TB, path string) *secrets.Store {
	s := secrets.NewStore()
	if log := strings.TrimSuffix(path, filepath.Ext(path)) + ".keylog"; exists(log) {
		if err := s.AddFile(log); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found, err := pcapng.Scan(f, func() (io.Reader, error) {
		_, err := f.Seek(0, io.SeekStart)
		return f, err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range found.List {
		if err := s.AddLog("dsb", bytes.NewReader(x.Data), int64(len(x.Data))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Ready(); err != nil {
		t.Fatal(err)
	}
	return s
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// sink collects rows and decrypted bytes.
type sink struct {
	dissecttest.Result
	plain map[plainKey][]byte
}

type plainKey struct {
	dir    dissect.Dir
	stream int64
}

func (s *sink) Plain(_ *dissect.Conn, dir dissect.Dir, stream int64, data []byte, _ dissect.Packet) {
	if s.plain == nil {
		s.plain = map[plainKey][]byte{}
	}
	k := plainKey{dir, stream}
	s.plain[k] = append(s.plain[k], data...)
}

// readCapture plays the UDP conversations of a capture.
func readCapture(t testing.TB, path string, more ...*dissect.Protocol) (*sink, []*dissect.Conn) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	src, err := pcapng.Open(f, pcapng.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	r, err := pcapng.NewReader(src, pcapng.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out := &sink{}
	keys := storeOf(t, path)
	e, err := dissect.NewEngine(append([]*dissect.Protocol{Protocol(keys), tls.Protocol(nil)}, more...), nil, out, true)
	if err != nil {
		t.Fatal(err)
	}
	type key [2]netip.AddrPort
	conns := map[key]*dissect.Conn{}
	clients := map[*dissect.Conn]netip.AddrPort{}
	var order []*dissect.Conn
	last := dissect.Packet{}
	d := decode.New(decode.Options{})
	for no := int64(1); ; {
		var b pcapng.Batch
		if err := r.Next(&b); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for i := range b.Packets {
			p := &b.Packets[i]
			var f decode.Frame
			d.Decode(decode.Input{LinkType: p.LinkType, Interface: p.Interface, Data: p.Data, OrigLen: p.OrigLen, Time: p.Time, No: no}, &f)
			no++
			if f.Proto != 17 || len(f.Payload) == 0 {
				continue
			}
			from, to := netip.AddrPortFrom(f.Src.Netip(), f.SrcPort), netip.AddrPortFrom(f.Dst.Netip(), f.DstPort)
			c := conns[key{from, to}]
			if c == nil {
				who, other := from, to
				if hinted(from.Port()) && !hinted(to.Port()) {
					who, other = to, from
				}
				c = e.NewConn(dissect.Info{Transport: dissect.UDP, ClientPort: who.Port(), ServerPort: other.Port(), ConnectUs: -1})
				clients[c] = who
				conns[key{from, to}], conns[key{to, from}] = c, c
				order = append(order, c)
			}
			dir := dissect.ToServer
			if from != clients[c] {
				dir = dissect.ToClient
			}
			last = dissect.Packet{No: no - 1, Time: p.Time}
			out.Bytes += int64(len(f.Payload))
			c.Datagram(dir, f.Payload, last)
		}
	}
	for _, c := range order {
		c.Close(dissect.EndCapture, last)
	}
	if n := e.Held(); n != 0 {
		t.Errorf("%d bytes held after the end", n)
	}
	var account int64
	for _, c := range order {
		account += c.RowBytes + c.AnomalyBytes
	}
	if account != out.Bytes {
		t.Errorf("%d bytes in rows and anomalies, want %d", account, out.Bytes)
	}
	return out, order
}

func hinted(port uint16) bool {
	for _, p := range Protocol(nil).Ports {
		if p == port {
			return true
		}
	}
	return false
}

// TestCaptures compares names and versions with those of a reference tool.
func TestCaptures(t *testing.T) {
	dir := captures.Dir(t)
	paths, _ := filepath.Glob(filepath.Join(dir, "quic", "*.pcap*"))
	for _, path := range paths {
		rel, _ := filepath.Rel(dir, path)
		t.Run(filepath.Base(rel), func(t *testing.T) {
			var truth struct {
				Names    map[string]int `json:"tls_sni"`
				Versions map[string]int `json:"quic_versions"`
				JA3      map[string]int `json:"ja3"`
				Streams  int            `json:"tcp_streams"`
			}
			b, err := os.ReadFile(filepath.Join(dir, "truth", rel+".json"))
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(b, &truth); err != nil {
				t.Fatal(err)
			}
			r, conns := readCapture(t, path)
			names, ja3 := map[string]int{}, map[string]int{}
			for _, e := range r.Emissions {
				c := e.Row.Base()
				t.Logf("%s | %s | error=%q failed=%v cites=%v", c.Protocol, c.Summary, c.Error.V, c.Failed, c.Cites)
				switch row := e.Row.(type) {
				case *Row:
					b, _ := json.Marshal(row)
					if testing.Verbose() {
						t.Logf("   %s", b)
					}
					names[row.Host.V]++
				case *tls.Row:
					ja3[row.JA3.V]++
					t.Logf("   %v", e.Details)
				}
			}
			for _, a := range r.Anomalies {
				t.Logf("anomaly %s %s %s", a.Source, a.Kind, a.Detail)
			}
			for k, v := range r.plain {
				t.Logf("plain %v stream %d: %d bytes", k.dir, k.stream, len(v))
			}
			for _, c := range conns {
				if e := c.Encrypted(); e != nil {
					t.Logf("encryption %s %s opened %v of %v", e.State, e.Reason, e.Opened, e.Records)
				}
			}
			for n := range truth.Names {
				if names[n] == 0 {
					t.Errorf("no connection to %s: %v, want %v", n, names, truth.Names)
				}
			}
			for n := range truth.JA3 {
				if ja3[n] == 0 && truth.Streams == 0 {
					t.Errorf("no ja3 %s: %v", n, ja3)
				}
			}
		})
	}
}
