package all_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/pcapsule/pcapsule/forensics/ask/failures"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// TestRapidReset has clients that cancel many streams, few of many, or only a few.
func TestRapidReset(t *testing.T) {
	const found = "high: (outside) cancelled 120 streams to 10.0.0.2 at once, up to 120 of one connection within ten seconds, as in a rapid reset (CVE-2023-44487)"
	for _, tt := range []struct {
		name           string
		streams, every int // every nth stream is answered
		want           []string
	}{
		{"a flood", 120, 0, []string{found}},
		{"too few", 99, 0, nil},
		{"half of the streams", 240, 2, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var up, down, block bytes.Buffer
			c, s, enc := http2.NewFramer(&up, nil), http2.NewFramer(&down, nil), hpack.NewEncoder(&block)
			up.WriteString(http2.ClientPreface)
			c.WriteSettings()
			s.WriteSettings()
			cancelled := 0
			for i := range tt.streams {
				id := uint32(2*i + 1)
				block.Reset()
				for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "a"}} {
					enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
				}
				c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
				if tt.every > 0 && i%tt.every == 0 {
					s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte{0x88}, EndStream: true, EndHeaders: true})
					continue
				}
				c.WriteRSTStream(id, http2.ErrCodeCancel)
				cancelled++
			}
			var w traffic.Capture
			w.Exchange(time.Second, time.Millisecond, "a", "203.0.113.9", "10.0.0.2:80", up.String(), down.String())
			w.Close(2*time.Second, "a")
			k := openTraffic(t, &w)
			hold(t, of(t, k, "rapid-reset"), tt.want...)
			a, err := failures.Ask(ctx, k, failures.In{})
			if err != nil {
				t.Fatal(err)
			}
			if note := fmt.Sprintf("%d calls were cancelled by the client", cancelled); a.Total != 0 || a.Calls != int64(tt.streams) || !strings.Contains(strings.Join(a.Notes, "\n"), note) {
				t.Errorf("%d of %d calls failed: %q", a.Total, a.Calls, a.Notes)
			}
		})
	}
}
