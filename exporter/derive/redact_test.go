package derive_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/derive"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

const policy = `
version: 1
name: test
extends: default
detectors: [credential, card, ssn, iban, email]
`

// request is an HTTP/1 request with a body.
func request(head, body string) []byte {
	return []byte("POST /orders HTTP/1.1\r\nHost: shop.example\r\n" + head + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)) + body)
}

// answer is an HTTP/1 response.
func answer(head, body string) say {
	return say{server: true, data: []byte("HTTP/1.1 200 OK\r\n" + head + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)) + body)}
}

func chunked(head, body string, size int) say {
	var b strings.Builder
	b.WriteString("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + head + "\r\n")
	for len(body) > 0 {
		n := min(size, len(body))
		fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
		body = body[n:]
	}
	b.WriteString("0\r\n\r\n")
	return say{server: true, data: []byte(b.String())}
}

// encoders are content codings.
var encoders = map[string]func(string) string{
	"aws-chunked": func(s string) string {
		half := len(s) / 2
		return fmt.Sprintf("%x;chunk-signature=a\r\n%s\r\n%x;chunk-signature=b\r\n%s\r\n0;chunk-signature=c\r\n\r\n", half, s[:half], len(s)-half, s[half:])
	},
	"gzip": func(s string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		w.Write([]byte(s))
		w.Close()
		return b.String()
	},
	"deflate": func(s string) string {
		var b bytes.Buffer
		w := zlib.NewWriter(&b)
		w.Write([]byte(s))
		w.Close()
		return b.String()
	},
	"br": func(s string) string {
		var b bytes.Buffer
		w := brotli.NewWriter(&b)
		w.Write([]byte(s))
		w.Close()
		return b.String()
	},
	"zstd": func(s string) string {
		w, _ := zstd.NewWriter(nil)
		return string(w.EncodeAll([]byte(s), nil))
	},
}

// http2Talk is a request with headers and a body, and an answer.
func http2Talk(headers [][2]string, body string) []say {
	var c, s bytes.Buffer
	c.WriteString(http2.ClientPreface)
	cf, sf := http2.NewFramer(&c, nil), http2.NewFramer(&s, nil)
	cf.WriteSettings()
	sf.WriteSettings()
	sf.WriteSettingsAck()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for stream := uint32(1); stream <= 5; stream += 2 { // later requests refer to the table
		block.Reset()
		for _, h := range append([][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", "/h2"}, {":authority", "shop.example"}}, headers...) {
			enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]})
		}
		cf.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true})
		cf.WriteData(stream, true, []byte(body))
	}
	var answers bytes.Buffer
	out := hpack.NewEncoder(&answers)
	for stream := uint32(1); stream <= 5; stream += 2 {
		answers.Reset()
		out.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
		sf.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: answers.Bytes(), EndHeaders: true, EndStream: true})
	}
	return []say{{data: c.Bytes()}, {server: true, data: s.Bytes()}}
}

// plant is a way in which a secret is sent. It returns the conversation's port and messages.
type plant struct {
	name string
	port uint16
	talk func(secret string) []say
}

func plants() []plant {
	json := func(s string) string { return `{"name":"Blue kettle","card_token":"` + s + `","qty":2}` }
	ok := answer("Content-Type: text/plain\r\n", "ok")
	list := []plant{
		{"JSON body", 80, func(s string) []say { return []say{{data: request("Content-Type: application/json\r\n", json(s))}, ok} }},
		{"header", 80, func(s string) []say { return []say{{data: request("Authorization: Bearer "+s+"\r\n", "x")}, ok} }},
		{"cookie", 80, func(s string) []say { return []say{{data: request("Cookie: theme=dark; sid="+s+"\r\n", "x")}, ok} }},
		{"Set-Cookie", 80, func(s string) []say {
			return []say{{data: request("", "x")}, answer("Set-Cookie: sid="+s+"; Path=/\r\n", "ok")}
		}},
		{"one byte a packet", 80, func(s string) []say { return []say{{data: request("X-Api-Key: "+s+"\r\n", "x"), mss: 1}, ok} }},
		{"split across packets", 80, func(s string) []say {
			return []say{{data: request("Content-Type: application/json\r\n", json(s)), mss: 13}, ok}
		}},
		{"query", 80, func(s string) []say {
			return []say{{data: []byte("GET /find?a=1&token=" + url.QueryEscape(s) + " HTTP/1.1\r\nHost: shop.example\r\n\r\n")}, ok}
		}},
		{"form", 80, func(s string) []say {
			return []say{{data: request("Content-Type: application/x-www-form-urlencoded\r\n", "a=1&password="+url.QueryEscape(s))}, ok}
		}},
		{"JSON in base64", 80, func(s string) []say {
			return []say{{data: request("Content-Type: application/json\r\n", `{"state":"`+base64.StdEncoding.EncodeToString([]byte(`{"password":"`+s+`"}`))+`"}`)}, ok}
		}},
		{"basic", 80, func(s string) []say {
			return []say{{data: request("Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte("ann:"+s))+"\r\n", "x")}, ok}
		}},
		{"elsewhere in hex and base64", 80, func(s string) []say {
			return []say{{data: request("X-Api-Key: "+s+"\r\n", "hex "+hex.EncodeToString([]byte(s))+" and b64 "+base64.StdEncoding.EncodeToString([]byte("a"+s+"b"))+" "+base64.StdEncoding.EncodeToString([]byte("ab"+s)))}, ok}
		}},
		{"chunked", 80, func(s string) []say {
			return []say{{data: request("", "x")}, chunked("Content-Type: application/json\r\n", json(s), 7)}
		}},
		{"HTTP/2", 80, func(s string) []say {
			return http2Talk([][2]string{{"authorization", "Bearer " + s}, {"accept", "*/*"}}, json(s))
		}},
		{"HTTP/2 cookie and path", 80, func(s string) []say {
			return http2Talk([][2]string{{"cookie", "theme=dark"}, {"cookie", "sid=" + s}}, "x")
		}},
		{"Redis", 6379, func(s string) []say {
			return []say{{data: []byte(fmt.Sprintf("*2\r\n$4\r\nAUTH\r\n$%d\r\n%s\r\n*3\r\n$3\r\nSET\r\n$5\r\ntoken\r\n$%d\r\n%s\r\n", len(s), s, len(s), s))}, {server: true, data: []byte("+OK\r\n+OK\r\n")}}
		}},
		{"ClickHouse over HTTP", 8123, func(s string) []say {
			q := "CREATE USER app IDENTIFIED BY '" + s + "'"
			url := "GET /?query=ALTER%20USER%20app%20IDENTIFIED%20BY%20%27" + s + "%27 HTTP/1.1\r\nHost: db\r\nX-ClickHouse-Key: " + s + "\r\n\r\n"
			ok := say{server: true, data: []byte("HTTP/1.1 200 OK\r\nX-ClickHouse-Query-Id: 1\r\nContent-Length: 0\r\n\r\n")}
			return []say{{data: []byte(url)}, ok, {data: fmt.Appendf(nil, "POST / HTTP/1.1\r\nHost: db\r\nContent-Length: %d\r\n\r\n%s", len(q), q)}, ok}
		}},
		{"PostgreSQL", 5432, func(s string) []say {
			q := "ALTER ROLE app PASSWORD '" + s + "'\x00"
			m := binary.BigEndian.AppendUint32([]byte("Q"), uint32(4+len(q)))
			start := append(binary.BigEndian.AppendUint32(nil, 0), "\x00\x03\x00\x00user\x00app\x00database\x00shop\x00\x00"...)
			binary.BigEndian.PutUint32(start, uint32(len(start)))
			done := "C\x00\x00\x00\x0fALTER ROLE\x00Z\x00\x00\x00\x05I"
			return []say{{data: start}, {server: true, data: []byte("R\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I")}, {data: append(m, q...)}, {server: true, data: []byte(done)}}
		}},
	}
	for coding, encode := range encoders {
		list = append(list, plant{"body in " + coding, 80, func(s string) []say {
			body := encode(strings.Repeat(`{"item":"kettle"},`, 20) + json(s))
			return []say{{data: request("", "x")}, answer("Content-Type: application/json\r\nContent-Encoding: "+coding+"\r\n", body)}
		}}, plant{"chunked body in " + coding, 80, func(s string) []say {
			body := encode(json(s))
			return []say{{data: request("", "x")}, chunked("Content-Type: application/json\r\nContent-Encoding: "+coding+"\r\n", body, 9)}
		}})
	}
	return list
}

// make a bundle of a capture.
func bundleOf(t *testing.T, capture string) *bundle.Bundle {
	t.Helper()
	out := filepath.Join(t.TempDir(), "original.pcapsule")
	if _, err := exporter.Run(context.Background(), []string{capture}, out, exporter.Options{Release: "test", Repanic: true}); err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func removalOf(t *testing.T, text string) removal {
	t.Helper()
	r, err := redact.ParseRemoval([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return removal{r}
}

// redacted redacts a bundle, and checks that the result verifies and rederives.
func redacted(t *testing.T, b *bundle.Bundle, text string) (*bundle.Bundle, *derive.Report) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "redacted.pcapsule")
	r, err := derive.Redact(context.Background(), b, out, derive.Redaction{Policy: removalOf(t, text), Text: []byte(text)}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	d, err := bundle.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	report, err := d.Verify(context.Background(), nil)
	if err != nil || !report.OK() {
		t.Fatalf("the derived bundle does not verify: %v %v", err, report.Problems)
	}
	again, err := exporter.Rederive(context.Background(), d, exporter.Options{Release: "test"})
	if err != nil || !again.OK() {
		t.Fatalf("the derived bundle does not rederive: %v %v", err, again)
	}
	return d, r
}

// secretOf is a secret of its own for each plant.
func secretOf(i int) string { return fmt.Sprintf("s3cr3t/K%02d+Zq%03dWv7~ab", i, i*7) }

// spellings of a secret that must not be in any file.
func spellings(s string) map[string]string {
	list := map[string]string{"as it is": s, "hex": hex.EncodeToString([]byte(s)), "URL": url.QueryEscape(s),
		"escapes of JSON": escaped(`\u%04x`, s), "some escapes of JSON": half(`\u%04X`, s), "escapes of URLs": escaped("%%%02x", s), "some escapes of URLs": half("%%%02X", s),
		"entities": half("&#%d;", s), "JSON in gzip": base64.StdEncoding.EncodeToString([]byte(encoders["gzip"](`{"user":"ann","password":"` + s + `"}`)))}
	for shift := range 3 {
		text := base64.RawStdEncoding.EncodeToString([]byte("\x00\x00"[:shift] + s))
		list[fmt.Sprint("base64 at ", shift)] = text[4 : len(text)-2]
	}
	return list
}

func TestNoPlantedSecretIsLeft(t *testing.T) {
	for i, p := range append(plants(), morePlants()...) {
		t.Run(p.name, func(t *testing.T) {
			s := newScene(t)
			secret := secretOf(i)
			s.talk(p.port, p.talk(secret)...)
			s.talk(80, say{data: request("", "nothing to hide")}, answer("", "fine"))
			b := bundleOf(t, s.save())
			d, r := redacted(t, b, policy)
			for _, f := range d.Payload() {
				data, err := os.ReadFile(d.Path(f.Path))
				if err != nil {
					t.Fatal(err)
				}
				for how, text := range spellings(secret) {
					if bytes.Contains(data, []byte(text)) {
						t.Errorf("%s holds the secret, %s", f.Path, how)
					}
				}
			}
			noneInTables(t, d, secret)
			t.Logf("%d packets changed, %d rounds: %v", r.Derived.Packets.Changed, r.Rounds, r.Derived.Rules)
			samePackets(t, b, d, int(r.Derived.Packets.Changed))
		})
	}
}

// TestPayloadsThatNoTableHolds has card numbers in protocols that nothing reads.
func TestPayloadsThatNoTableHolds(t *testing.T) {
	s := newScene(t)
	const card = "4111 1111 1111 1111"
	s.talk(9999, say{data: []byte("\x01\x02 pay " + card + " \x03")}, say{server: true, data: []byte("\x04 paid by " + card)})
	s.udp([4]byte{10, 0, 0, 1}, [4]byte{10, 0, 0, 9}, 7777, 7778, []byte("\x05\x06card="+card+"\x07"))
	b := bundleOf(t, s.save())
	d, r := redacted(t, b, policy)
	data, err := os.ReadFile(d.Path(d.Manifest.Inputs[0].Path))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("1111")) || bytes.Count(data, []byte("9999 9999 9999 9999")) != 3 || r.Derived.Packets.Changed != 3 {
		t.Errorf("%d packets changed: %v", r.Derived.Packets.Changed, r.Derived.Rules)
	}
	if len(r.Warnings) != 1 || !strings.HasPrefix(r.Warnings[0], "connections with payload that no dissector reads: 2") {
		t.Errorf("warnings: %q", r.Warnings)
	}
	samePackets(t, b, d, 3)
}

// TestTooManyValues: values in tables, or in payloads that no table holds, that do not fit in memory are an error, after
// which nothing is left.
func TestTooManyValues(t *testing.T) {
	const most = 40_000
	for _, tt := range []struct {
		name string
		port uint16
		head string
	}{{"in a table", 80, ""}, {"in payload", 7777, "\x01\x02"}} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			for i := 0; i < most; i += 1000 {
				var body strings.Builder
				for k := range 1000 {
					fmt.Fprintf(&body, "%s ", luhn(fmt.Sprintf("4929%011d", i+k)))
				}
				data := []byte(tt.head + body.String())
				if tt.head == "" {
					data = request("Content-Type: text/plain\r\n", body.String())
				}
				s.talk(tt.port, say{data: data}, answer("", "ok"))
			}
			b := bundleOf(t, s.save())
			dir := t.TempDir()
			o := quiet
			o.Memory = 32 << 20
			const policy = "version: 1\nextends: none\ndetectors: [card]\n"
			_, err := derive.Redact(context.Background(), b, filepath.Join(dir, "o.pcapsule"), derive.Redaction{Policy: removalOf(t, policy), Text: []byte(policy)}, o)
			if !errors.Is(err, derive.ErrMemory) {
				t.Errorf("the error is %v", err)
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("%s is left", left[0].Name())
			}
		})
	}
}

// TestPayloadsAreReadOver has a login behind what the tables show of a datagram, and then so many datagrams
// that they are read into the same memory.
func TestPayloadsAreReadOver(t *testing.T) {
	s := newScene(t)
	const login = "YWRtaW46bG9uZ1Bhc3N3b3JkMQ=="
	send := func(data []byte) { s.udp([4]byte{10, 0, 0, 1}, [4]byte{10, 0, 0, 9}, 7777, 7778, data) }
	send(append(bytes.Repeat([]byte("\x05\x06 "), 300), "Authorization: Basic "+login...))
	for range 8000 {
		send(bytes.Repeat([]byte("\x05\x06 nothing to see "), 60))
	}
	b := bundleOf(t, s.save())
	d, _ := redacted(t, b, policy)
	if data, err := os.ReadFile(d.Path(d.Manifest.Inputs[0].Path)); err != nil || bytes.Contains(data, []byte(login)) {
		t.Errorf("the login is left: %v", err)
	}
	samePackets(t, b, d, 1)
}

// TestStoredBodies decodes what replaces a body, for all sizes and block borders.
func TestStoredBodies(t *testing.T) {
	for coding, decode := range decoders {
		for _, size := range []int{1, 12, 23, 24, 25, 100, 65535, 65536, 65541, 65560, 131072, 131090, 131200, 400_000} {
			out, ok := derive.Stored(coding, size)
			if !ok {
				if size > 24 {
					t.Errorf("%s: no body of %d bytes", coding, size)
				}
				continue
			}
			text, err := decode(bytes.NewReader(out))
			if err != nil || len(out) != size || len(text) == 0 || strings.Trim(string(text), "x") != "" {
				t.Errorf("%s of %d bytes: %d bytes, %v", coding, size, len(out), err)
			}
		}
	}
}

// decoders are the inverse of encoders.
var decoders = map[string]func(io.Reader) ([]byte, error){
	"aws-chunked": func(r io.Reader) ([]byte, error) {
		b, _ := io.ReadAll(r)
		return dissect.Decompress("aws-chunked", b, 1<<20)
	},
	"gzip": func(r io.Reader) ([]byte, error) {
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, err
		}
		return io.ReadAll(z)
	},
	"deflate": func(r io.Reader) ([]byte, error) {
		z, err := zlib.NewReader(r)
		if err != nil {
			return nil, err
		}
		return io.ReadAll(z)
	},
	"br": func(r io.Reader) ([]byte, error) { return io.ReadAll(brotli.NewReader(r)) },
	"zstd": func(r io.Reader) ([]byte, error) {
		z, err := zstd.NewReader(r)
		if err != nil {
			return nil, err
		}
		defer z.Close()
		return io.ReadAll(z)
	},
}

// noneInTables looks for a secret in the decoded rows.
func noneInTables(t *testing.T, b *bundle.Bundle, secret string) {
	t.Helper()
	if left := derive.Find(context.Background(), b, secret); left != "" {
		t.Errorf("%s holds the secret", left)
	}
}

// packetsOf reads the packets of a bundle's first input.
func packetsOf(t *testing.T, b *bundle.Bundle) (list []pcapng.Packet) {
	t.Helper()
	f, err := os.Open(b.Path(b.Manifest.Inputs[0].Path))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapng.NewReader(f, pcapng.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for {
		var batch pcapng.Batch
		if err := r.Next(&batch); err != nil {
			return list
		}
		list = append(list, batch.Packets...)
	}
}

// samePackets compares the packets of both: number, times, lengths, and the bytes of all but n.
func samePackets(t *testing.T, b, d *bundle.Bundle, n int) {
	t.Helper()
	x, y := packetsOf(t, b), packetsOf(t, d)
	if len(x) != len(y) {
		t.Fatalf("%d packets, want %d", len(y), len(x))
	}
	changed := 0
	for i := range x {
		if x[i].Time != y[i].Time || x[i].OrigLen != y[i].OrigLen || len(x[i].Data) != len(y[i].Data) {
			t.Errorf("packet %d has another time or length", i)
		}
		if !bytes.Equal(x[i].Data, y[i].Data) {
			changed++
		}
	}
	if changed != n {
		t.Errorf("%d packets differ, the report says %d", changed, n)
	}
	if bad := d.Manifest.Accounts.Counters["packet"]["bad_checksum"]; bad != b.Manifest.Accounts.Counters["packet"]["bad_checksum"] {
		t.Errorf("%d wrong checksums", bad)
	}
}
