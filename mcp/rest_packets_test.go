package mcp

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/mcp/tools"
	"github.com/pcapsule/pcapsule/samples/leaktest"
)

// eachPacket calls f with the packets of the first calls.
func eachPacket(t *testing.T, web *httptest.Server, calls int, query string, f func(id string, row tools.PacketRow, p tools.PacketDetail)) {
	t.Helper()
	list := restAnswerOf[struct{ Calls []struct{ ID string } }](t, fmt.Sprintf("%s/mcp/calls?limit=%d", web.URL, calls))
	for _, c := range list.Calls {
		for from := int64(0); ; {
			page := restAnswerOf[tools.CallPackets](t, fmt.Sprintf("%s/mcp/calls/%s/packets?limit=3&from=%d", web.URL, c.ID, from))
			for _, row := range page.List {
				f(c.ID, row, restAnswerOf[tools.PacketDetail](t, fmt.Sprintf("%s/mcp/calls/%s/packet?packet_no=%d%s", web.URL, c.ID, row.No, query)))
			}
			if from = page.Next; !page.More {
				break
			}
		}
	}
}

// visibleBytes returns the bytes of a packet, masked ones as NUL.
func visibleBytes(p tools.PacketDetail) string {
	var b strings.Builder
	for _, v := range p.Bytes {
		if v == nil {
			b.WriteByte(0)
		} else {
			b.WriteByte(byte(*v))
		}
	}
	return b.String()
}

// TestBytesShowNoSecret looks for secrets in the lists, layers and bytes of packets.
func TestBytesShowNoSecret(t *testing.T) {
	path, secrets := leaktest.Bundle(t)
	web := httptest.NewServer(serving(t, Options{Policy: redact.Default()}, path).Handler(HTTPOptions{}))
	defer web.Close()
	shown, hidden, found := 0, int64(0), 0
	eachPacket(t, web, nightly.Of(15, 40), "", func(id string, row tools.PacketRow, p tools.PacketDetail) {
		for _, v := range []any{row, p} {
			raw, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			leaks(t, "a packet of "+id, string(raw), secrets)
		}
		bytes := visibleBytes(p)
		leaks(t, "the bytes of a packet of "+id, bytes, secrets)
		shown += len(bytes) - int(p.Hidden)
		hidden += p.Hidden
		for _, l := range p.Layers {
			if l.Name == "call" {
				found += len(l.Fields)
			}
		}
	})
	if shown == 0 || hidden == 0 || found == 0 {
		t.Errorf("%d bytes shown, %d hidden, %d values found", shown, hidden, found)
	}
	r, err := http.Get(web.URL + "/mcp/calls/%230/packet?packet_no=1&bytes=recorded")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil || r.StatusCode != http.StatusForbidden || !strings.Contains(string(text), "--packets") {
		t.Errorf("recorded bytes without permission: %d %s", r.StatusCode, text)
	}
}

// TestBytesAsRecorded reads packets without masks, and with permission: all bytes, and each value at its place.
func TestBytesAsRecorded(t *testing.T) {
	for _, tc := range []struct {
		o     Options
		query string
	}{{Options{}, ""}, {Options{Policy: redact.Default(), Packets: true}, "&bytes=recorded"}} {
		web := httptest.NewServer(serving(t, tc.o, bundled(t, "http1.pcapng")).Handler(HTTPOptions{}))
		seen := map[string]bool{}
		eachPacket(t, web, 5, tc.query, func(id string, row tools.PacketRow, p tools.PacketDetail) {
			if p.Hidden != 0 || int64(len(p.Bytes)) != row.Len || p.PacketRow != row || row.Frame == 0 || row.Src == "" {
				t.Errorf("%d bytes, %d hidden: %+v, listed as %+v", len(p.Bytes), p.Hidden, p.PacketRow, row)
			}
			bytes := visibleBytes(p)
			for _, l := range p.Layers {
				for _, f := range l.Fields {
					if seen[f.Name] = true; l.Name == "call" && bytes[f.Start:f.End] != f.Value {
						t.Errorf("%s is %q, but its bytes are %q", f.Name, f.Value, bytes[f.Start:f.End])
					}
				}
			}
		})
		for _, name := range []string{"eth.src", "ip.dst", "tcp.seq_raw", "http.request.method", "http.response.code", "path"} {
			if !seen[name] {
				t.Errorf("no packet has %s", name)
			}
		}
		for target, want := range map[string]int{"/mcp/calls/%2399999/packets": 404, "/mcp/calls/%231/packet?packet_no=99999999": 404, "/mcp/calls/%231/packet": 400, "/mcp/calls/x/packets": 400, "/mcp/calls/x/packet?packet_no=1": 400,
			"/mcp/calls/%231/packet?packet_no=-1": 400, "/mcp/calls/%231/packets?from=999": 200} {
			r, err := http.Get(web.URL + target)
			if err != nil {
				t.Fatal(err)
			}
			if r.Body.Close(); r.StatusCode != want {
				t.Errorf("%s: %d, want %d", target, r.StatusCode, want)
			}
		}
		web.Close()
	}
}
