package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics/reader"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/mcp/tools"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// carried is a bundle with a picture that a client fetched, one that a client sent, and a message of protobuf.
func carried(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	p := image.NewNRGBA(image.Rect(0, 0, 30, 10))
	p.Set(0, 0, color.NRGBA{G: 255, A: 255})
	if err := png.Encode(&b, p); err != nil {
		t.Fatal(err)
	}
	message := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "tea-pot")
	message = protowire.AppendVarint(protowire.AppendTag(message, 2, protowire.VarintType), 150)
	var c traffic.Capture
	c.Exchange(0, time.Millisecond, "get", "10.0.0.1", "10.0.0.2:80", traffic.HTTP("GET /logo.png HTTP/1.1", "Host: a", ""), traffic.HTTP("HTTP/1.1 200 OK", "Content-Type: image/png", b.String()))
	c.Exchange(time.Second, time.Millisecond, "put", "10.0.0.1", "10.0.0.2:80", traffic.HTTP("PUT /logo.png HTTP/1.1", "Host: a\r\nContent-Type: image/png", b.String()), traffic.HTTP("HTTP/1.1 204 No Content", "", ""))
	c.Exchange(2*time.Second, time.Millisecond, "proto", "10.0.0.1", "10.0.0.2:80", traffic.HTTP("POST /v1/orders HTTP/1.1", "Host: a\r\nContent-Type: application/x-protobuf", string(message)), traffic.HTTP("HTTP/1.1 200 OK", "Content-Type: text/plain", "ok"))
	dir := t.TempDir()
	in, out := filepath.Join(dir, "a.pcap"), filepath.Join(dir, "a.pcapsule")
	if err := c.Write(in); err != nil {
		t.Fatal(err)
	}
	if _, err := exporter.Run(context.Background(), []string{in}, out, exporter.Options{Release: "test"}); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestPictureOfACall gets pictures from the server and from the viewer's reader.
func TestPictureOfACall(t *testing.T) {
	path := carried(t)
	tab, err := reader.Open(path, path)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{{}, {Policy: redact.Default(), Packets: true}, {Policy: redact.Default()}} {
		web := httptest.NewServer(serving(t, o, path).Handler(HTTPOptions{}))
		defer web.Close()
		for at, want := range map[string]int{"%230/picture": 200, "%230/picture?side=response": 200, "%230/picture?side=request": 400, "%231/picture?side=request": 200, "%231/picture": 400,
			"%232/picture": 400, "%2399/picture": 404, "zz/picture": 400, "%230/picture?side=other": 400} {
			r, err := http.Get(web.URL + "/mcp/calls/" + at)
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(r.Body)
			r.Body.Close()
			if o.Policy != nil && !o.Packets && (want == 200 || strings.Contains(at, "%23") && !strings.Contains(at, "other")) {
				want = http.StatusForbidden
			}
			if err != nil || r.StatusCode != want {
				t.Errorf("%+v %s: %d %.200s %v, want %d", o, at, r.StatusCode, text, err, want)
			}
			if want != 200 {
				continue
			}
			p, err := png.Decode(bytes.NewReader(text))
			if err != nil || p.Bounds().Dx() != 30 || r.Header.Get("Content-Type") != "image/png" {
				t.Errorf("%s: %v %v", at, err, r.Header)
			}
			if same := tab.Ask(t.Context(), "/mcp/calls/"+at, nil); same.Status != 200 || !bytes.Equal(same.Body, text) {
				t.Errorf("%s: the reader answers %d with %d bytes, the server %d bytes", at, same.Status, len(same.Body), len(text))
			}
		}
	}
}

// TestProtobufIsDecoded reads a message whose schema nobody has.
func TestProtobufIsDecoded(t *testing.T) {
	web := httptest.NewServer(serving(t, Options{Policy: redact.Default()}, carried(t)).Handler(HTTPOptions{}))
	defer web.Close()
	r, err := http.Post(web.URL+"/mcp/tools/get_api_call_details", "application/json", strings.NewReader(`{"id": "#2"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var out tools.GetAPICallOut
	if err := json.NewDecoder(r.Body).Decode(&out); err != nil || out.Request == nil || out.Request.Decoded != `{1: "tea-pot", 2: 150}` || out.Response.Decoded != "" {
		t.Errorf("%v %+v", err, out.Request)
	}
}
