package http3

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/captures"

	"github.com/pcapsule/pcapsule/exporter/decode"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/quic"
	"github.com/pcapsule/pcapsule/exporter/dissect/tls"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// readCapture plays the UDP packets of one conversation with the secrets in the file.
func readCapture(t *testing.T, path string) *dissecttest.Result {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	keys := secrets.NewStore()
	found, err := pcapng.Scan(f, func() (io.Reader, error) {
		_, err := f.Seek(0, io.SeekStart)
		return f, err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range found.List {
		if err := keys.AddLog("dsb", bytes.NewReader(x.Data), int64(len(x.Data))); err != nil {
			t.Fatal(err)
		}
	}
	if err := keys.Ready(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	src, err := pcapng.Open(f, pcapng.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	r, err := pcapng.NewReader(src, pcapng.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var chunks []dissecttest.Chunk
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
			var x decode.Frame
			d.Decode(decode.Input{LinkType: p.LinkType, Interface: p.Interface, Data: p.Data, OrigLen: p.OrigLen, Time: p.Time, No: no}, &x)
			no++
			if x.Proto != 17 || x.SrcPort != 443 && x.DstPort != 443 {
				continue
			}
			c := dissecttest.Chunk{Dir: up, Data: bytes.Clone(x.Payload)}
			if x.SrcPort == 443 {
				c.Dir = down
			}
			chunks = append(chunks, c)
		}
	}
	return dissecttest.Play(t, dissecttest.Options{Transport: dissect.UDP, ServerPort: 443, End: dissect.EndTimeout, Roles: true,
		Protocols: append(protocols(), quic.Protocol(keys), tls.Protocol(nil))}, chunks...)
}

// TestChrome reads a page that Chrome requested from Cloudflare.
func TestChrome(t *testing.T) {
	r := readCapture(t, filepath.Join(captures.Dir(t), "quic", "ja4-chrome-cloudflare-quic-with-secrets.pcapng"))
	var got []string
	for _, row := range requests(r) {
		got = append(got, fmt.Sprintf("%s%s: %s %s, %d headers, %d bytes", row.Host.V, row.Path.V, row.Summary, row.ResponseContentType.V, len(row.Headers), row.ResponseBodyWire.V))
	}
	for _, a := range r.Anomalies {
		t.Errorf("anomaly %s %s: %s", a.Source, a.Kind, a.Detail)
	}
	for _, e := range r.Emissions {
		if e.RespBody != nil && !bytes.Contains(e.RespBody.Bytes(), []byte("</html>")) {
			t.Errorf("a page without an end, %d bytes", len(e.RespBody.Bytes()))
		}
	}
	want := []string{"cloudflare-quic.com/: GET / → 200 text/html, 21 headers, 10111 bytes"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("rows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
