package exporter

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/all"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// toy is an encryption for tests: ENC!, then records of a 3-byte length and inverted bytes.
func toy(keys *secrets.Store) []*dissect.Protocol {
	return append(all.Protocols(keys), &dissect.Protocol{Name: "toy", Transports: []dissect.Transport{dissect.TCP},
		Detect: func(_ dissect.Dir, head []byte) dissect.Verdict {
			if len(head) >= 4 && string(head[:4]) == "ENC!" {
				return dissect.Yes
			}
			return dissect.No
		},
		New: func(c *dissect.Conn) dissect.Dissector { return &toyConn{c: c, inner: c.NewInner("tls")} },
		Row: &toyRow{}})
}

type toyRow struct{ table.Call }

type toyConn struct {
	dissect.Stateless
	c, inner *dissect.Conn
}

func (o *toyConn) Read(in *dissect.Input) (int, error) {
	if bytes.HasPrefix(in.Data, []byte("ENC!")) {
		o.c.Encryption().Layer, o.c.Encryption().State = "toy", dissect.KeyVerified
		return 4, nil
	}
	if len(in.Data) < 3 {
		return 0, nil
	}
	n := 3 + int(in.Data[0])<<16 + int(in.Data[1])<<8 + int(in.Data[2])
	if len(in.Data) < n {
		o.c.Need(in.Dir, n)
		return 0, nil
	}
	o.inner.Feed(in, 0, n, flipped(in.Data[3:n]))
	return n, nil
}

func (o *toyConn) Gap(*dissect.Input, int64) bool { return true }
func (o *toyConn) Close(why dissect.End)          { o.inner.Close(why, o.c.Now()) }

func flipped(b []byte) []byte {
	out := make([]byte, len(b))
	for i := range b {
		out[i] = b[i] ^ 0x55
	}
	return out
}

func toyRecord(text string) []byte {
	return append([]byte{byte(len(text) >> 16), byte(len(text) >> 8), byte(len(text))}, flipped([]byte(text))...)
}

// talk is a capture of raw IP packets.
type talk struct {
	w  *pcapng.Writer
	ns int64
}

// segment writes a TCP segment from a port of 10.0.0.1 to one of 10.0.0.2, or back.
func (k *talk) segment(t testing.TB, back bool, port uint16, flags byte, seq, ack uint32, data []byte) {
	t.Helper()
	be := binary.BigEndian
	ip := make([]byte, 40, 40+len(data))
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	be.PutUint16(ip[2:], uint16(40+len(data)))
	src, dst, sport, dport := byte(1), byte(2), port, uint16(443)
	if back {
		src, dst, sport, dport = dst, src, dport, sport
	}
	copy(ip[12:], []byte{10, 0, 0, src, 10, 0, 0, dst})
	be.PutUint16(ip[20:], sport)
	be.PutUint16(ip[22:], dport)
	be.PutUint32(ip[24:], seq)
	be.PutUint32(ip[28:], ack)
	ip[32], ip[33] = 0x50, flags
	k.ns += 1000
	ip = append(ip, data...)
	if err := k.w.WritePacket(&pcapng.Packet{Kind: pcapng.KindEnhanced, Time: 1e18 + k.ns, TimeOK: true, OrigLen: uint32(len(ip)), Data: ip}, nil); err != nil {
		t.Fatal(err)
	}
}

// stream sends data in one direction after a handshake.
func (k *talk) stream(t testing.TB, back bool, port uint16, at *uint32, data []byte) {
	for len(data) > 0 {
		n := min(len(data), 30_000)
		k.segment(t, back, port, 0x18, *at, 1, data[:n])
		*at += uint32(n)
		data = data[n:]
	}
}

// capture writes a capture of raw IP packets.
func capture(t testing.TB, write func(*talk)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "toy.pcapng")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := pcapng.NewWriter(f, pcapng.Section{}, pcapng.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.AddInterface(pcapng.Interface{LinkType: 101, SnapLen: 262144, TsResol: 9, FCSLen: -1}); err != nil {
		t.Fatal(err)
	}
	write(&talk{w: w})
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return path
}

// open writes a handshake and the first bytes of both sides, and returns the next positions.
func (k *talk) open(t testing.TB, port uint16) [2]uint32 {
	t.Helper()
	k.segment(t, false, port, 0x02, 0, 0, nil)
	k.segment(t, true, port, 0x12, 0, 1, nil)
	at := [2]uint32{1, 1}
	k.stream(t, false, port, &at[0], []byte("ENC!"))
	k.stream(t, true, port, &at[1], []byte("ENC!"))
	return at
}

// toyCapture has connections with three requests each; the first answers are long.
func toyCapture(t testing.TB, conns int) string {
	t.Helper()
	return capture(t, func(k *talk) {
		at := make([][2]uint32, conns)
		for i := range at {
			at[i] = k.open(t, uint16(2000+i))
		}
		for round := range 3 {
			for i := range at {
				k.stream(t, false, uint16(2000+i), &at[i][0], toyRecord(fmt.Sprintf("GET /%d/%d HTTP/1.1\r\nHost: a\r\n\r\n", i, round)))
			}
			for i := range at {
				k.stream(t, true, uint16(2000+i), &at[i][1], toyRecord("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n"))
				if i == 0 {
					k.stream(t, true, uint16(2000+i), &at[i][1], toyRecord(strings.Repeat("x", 300_000)))
				}
			}
		}
	})
}

// pdus reads a capture of upper PDUs: the tags and bytes of each.
func pdus(t testing.TB, data []byte) (heads []map[uint16]string, bodies []string, times []int64) {
	t.Helper()
	r, err := pcapng.NewReader(bytes.NewReader(data), pcapng.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b pcapng.Batch
	for {
		if err := r.Next(&b); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for _, p := range b.Packets {
			if p.LinkType != linkUpperPDU || len(p.Data) > maxPDU {
				t.Fatalf("a packet of link type %d with %d bytes", p.LinkType, len(p.Data))
			}
			head, rest := map[uint16]string{}, p.Data
			for {
				tag, n := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[2:]))
				head[tag], rest = string(rest[4:4+n]), rest[4+n:]
				if tag == tagEnd {
					break
				}
			}
			heads, bodies, times = append(heads, head), append(bodies, string(rest)), append(times, p.Time)
		}
	}
	if n := len(r.Damage()); n > 0 {
		t.Fatalf("damage: %v", r.Damage())
	}
	return heads, bodies, times
}

func TestDecryptWritesThePlaintext(t *testing.T) {
	path := toyCapture(t, 40)
	var first []byte
	for _, jobs := range []int{1, 4} {
		var out bytes.Buffer
		s, err := decrypt(context.Background(), []string{path}, &out, Options{Release: "test", Jobs: jobs, Repanic: true}, toy)
		if err != nil {
			t.Fatal(err)
		}
		heads, bodies, times := pdus(t, out.Bytes())
		if want := int64(3 * (40*2 + 2)); s.PDUs != want || int64(len(bodies)) != want || s.Connections["verified"] != 40 || s.Written != int64(out.Len()) {
			t.Fatalf("%d PDUs, %+v; want %d", len(bodies), s, want)
		}
		for i := 1; i < len(times); i++ {
			if times[i] < times[i-1] {
				t.Fatalf("PDU %d is older than the one before", i)
			}
		}
		if h := heads[3]; bodies[3] != "GET /3/0 HTTP/1.1\r\nHost: a\r\n\r\n" || strings.TrimRight(h[tagDissector], "\x00") != "http" ||
			h[tagIPv4Src] != "\x0a\x00\x00\x01" || h[tagIPv4Dst] != "\x0a\x00\x00\x02" || h[tagPortType] != "\x00\x00\x00\x02" ||
			h[tagSrcPort] != "\x00\x00\x07\xd3" || h[tagDstPort] != "\x00\x00\x01\xbb" || h[tagFrame] != "\x00\x00\x00\xa4" {
			t.Errorf("%q %v", bodies[3], h)
		}
		if h := heads[40]; !strings.HasPrefix(bodies[40], "HTTP/1.1 200 OK") || h[tagIPv4Src] != "\x0a\x00\x00\x02" || h[tagSrcPort] != "\x00\x00\x01\xbb" {
			t.Errorf("%q %v", bodies[40], h)
		}
		if long := bodies[41] + bodies[42]; long != strings.Repeat("x", 300_000) {
			t.Errorf("%d bytes of a long record, want 300000", len(long))
		}
		if first == nil {
			first = out.Bytes()
		} else if !bytes.Equal(first, out.Bytes()) {
			t.Error("another number of workers gives other bytes")
		}
		i, err := pcapng.ReadInterfaceAt(bytes.NewReader(out.Bytes()), 0, interfaceOffset(t, out.Bytes()), 0)
		if err != nil || len(i.Comments) != 1 || !strings.Contains(i.Comments[0], `"toy.pcapng" (SHA-256 `+hashOf(t, path)+")") {
			t.Errorf("interface %+v, %v", i, err)
		}
	}
}

func interfaceOffset(t *testing.T, data []byte) int64 {
	t.Helper()
	return int64(binary.LittleEndian.Uint32(data[4:]))
}

func hashOf(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

// TestPlaintextOfSeveralInputsHasSeveralClocks has a capture and another one in one run.
func TestPlaintextOfSeveralInputsHasSeveralClocks(t *testing.T) {
	var out bytes.Buffer
	if _, err := decrypt(context.Background(), []string{toyCapture(t, 2), filepath.Join("..", "samples", "dns.pcap")}, &out, Options{Release: "test", Repanic: true}, toy); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "plain.pcapng")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := answersOf(t, []string{path}, Options{Release: "test"}, "select string_agg(same_as || ' ' || same_by, ', ' order by clock_id) from clocks"); got[0] != "0 mark, 1 mark" {
		t.Error(got[0])
	}
}

func TestDecryptWithoutKeysWritesNothing(t *testing.T) {
	var out bytes.Buffer
	s, err := Decrypt(context.Background(), []string{filepath.Join("..", "samples", "tls.pcapng")}, &out, Options{Release: "test", Repanic: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, bodies, _ := pdus(t, out.Bytes()); len(bodies) != 0 || s.PDUs != 0 || s.Packets != 164 {
		t.Errorf("%d PDUs, %+v", len(bodies), s)
	}
}

func TestDecryptRefuses(t *testing.T) {
	sample := filepath.Join("..", "samples", "tls.pcapng")
	var input *InputError
	var keys *KeysError
	if _, err := Decrypt(context.Background(), []string{"nosuch.pcap"}, io.Discard, Options{}); !errors.As(err, &input) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a capture that is not there: %v", err)
	}
	if _, err := Decrypt(context.Background(), []string{filepath.Join("..", "samples", "README.md")}, io.Discard, Options{}); !errors.Is(err, pcapng.ErrNotCapture) {
		t.Errorf("text: %v", err)
	}
	if _, err := Decrypt(context.Background(), []string{sample}, io.Discard, Options{Keys: []string{"nosuch.log"}}); !errors.As(err, &keys) {
		t.Errorf("keys that are not there: %v", err)
	}
	full := errors.New("full")
	if _, err := decrypt(context.Background(), []string{toyCapture(t, 1)}, failing{full}, Options{}, toy); !errors.Is(err, full) {
		t.Errorf("a full disk: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Decrypt(ctx, []string{sample}, io.Discard, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("after an interrupt: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// tshark decrypts captures of the toy and prints fields of the frames that match a filter.
func tshark(t *testing.T, capture, filter string, fields ...string) string {
	t.Helper()
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("needs tshark")
	}
	path := filepath.Join(t.TempDir(), "plain.pcapng")
	f, err := whole.CreateFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Abort()
	if _, err := decrypt(context.Background(), []string{capture}, f, Options{Release: "test"}, toy); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	args := []string{"-n", "-r", path, "-Y", filter, "-T", "fields"}
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	out, err := exec.Command("tshark", args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestTsharkReadsPlaintext(t *testing.T) {
	out := tshark(t, toyCapture(t, 2), "http.request", "http.request.uri", "exported_pdu.ipv4_src", "exported_pdu.orig_fno")
	if want := "/0/0\t10.0.0.1\t9\n/1/0\t10.0.0.1\t10\n"; !strings.HasPrefix(out, want) || strings.Count(out, "\n") != 6 {
		t.Errorf("%q, want %q and four more", out, want)
	}
}

func TestTsharkKnowsTheProtocolsInside(t *testing.T) {
	texts := []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x03\x01\x05\x00\x00\x00\x01\x82\x87\x84",
		"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",
		"\x00\x00\x00\x15\x00\x03\x00\x00user\x00me\x00\x00\x00\x00\x00\x00",
		"\x00\x17\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x01a\x00\x00\x01\x00\x01",
		"nobody knows what this is, and it is long enough to be told from everything else",
	}
	path := capture(t, func(k *talk) {
		for i, text := range texts {
			at := k.open(t, uint16(2000+i))
			k.stream(t, false, uint16(2000+i), &at[0], toyRecord(text))
		}
	})
	for i, filter := range []string{"http", "http2", "resp", "pgsql", "dns", "data && !http && !http2 && !resp && !pgsql && !dns"} {
		if out, want := tshark(t, path, filter, "exported_pdu.src_port"), fmt.Sprintf("%d\n", 2000+i); out != want {
			t.Errorf("%s: from port %q, want %q", filter, out, want)
		}
	}
}

// FuzzDecrypt decrypts damaged captures. The result must be a complete capture of upper PDUs, or
// an error that says the input is not a capture.
func FuzzDecrypt(f *testing.F) {
	data, err := os.ReadFile(toyCapture(f, 1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data[:4096])
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "a.pcapng")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		s, err := decrypt(context.Background(), []string{path}, &out, Options{Release: "test", Jobs: 1, Repanic: true}, toy)
		if err != nil {
			var in *InputError
			if !errors.As(err, &in) {
				t.Fatalf("neither plaintext nor a capture's fault: %v", err)
			}
			return
		}
		if _, bodies, _ := pdus(t, out.Bytes()); int64(len(bodies)) != s.PDUs {
			t.Fatalf("%d PDUs, said were %d", len(bodies), s.PDUs)
		}
	})
}
