package proof_test

import (
	"fmt"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/exportertest"
	"github.com/pcapsule/pcapsule/samples/frames"
)

// TestDecoysTakeNoPlace has a forged segment that the server never accepts, in a connection that continues for minutes
// or ends. All calls are those of the connection, and an anomaly names the segment.
func TestDecoysTakeNoPlace(t *testing.T) {
	const server, answer = "10.0.0.2:80", "HTTP/1.1 204 No Content\r\n\r\n"
	for _, tt := range []struct {
		name    string
		ahead   uint32
		stamp   uint32
		acks    uint32 // further than what the other side sent
		byPeer  bool
		pause   uint32 // µs between calls
		calls   int
		anomaly string
	}{
		{"ahead in the window", 3000, 0, 0, false, 1000, 5, "stray_segment"},
		{"ahead in the window, minutes", 3000, 0, 0, false, 5_000_000, 40, "stray_segment"},
		{"ahead in the window, long pauses", 3000, 0, 0, false, 100_000_000, 5, "stray_segment"},
		{"ahead beyond the window, minutes", 1 << 20, 0, 0, false, 5_000_000, 40, "stray_segment"},
		{"ahead of the server, minutes", 3000, 0, 0, true, 5_000_000, 40, "stray_segment"},
		{"an old time stamp", 0, 7, 0, false, 1000, 5, "old_timestamp"},
		{"an old time stamp, minutes", 0, 7, 0, false, 5_000_000, 40, "old_timestamp"},
		{"an old time stamp of the server", 0, 7, 0, true, 5_000_000, 40, "old_timestamp"},
		{"an old time stamp, and nothing after it", 0, 7, 0, false, 0, 0, "old_timestamp"},
		{"an acknowledgement of what was not sent", 0, 0, 5000, false, 1000, 5, "unsent_ack"},
		{"an acknowledgement of what was not sent, minutes", 0, 0, 5000, false, 5_000_000, 40, "unsent_ack"},
		{"an acknowledgement far away, minutes", 0, 0, 1 << 30, false, 5_000_000, 40, "unsent_ack"},
		{"an acknowledgement of the server, minutes", 0, 0, 5000, true, 5_000_000, 40, "unsent_ack"},
		{"an acknowledgement of what is sent later", 0, 0, 300, false, 5_000_000, 40, "unsent_ack"},
		{"an acknowledgement of what was not sent, and nothing after it", 0, 0, 5000, false, 0, 0, "unsent_ack"},
		{"an acknowledgement older than a window, minutes", 0, 0, 3 << 30, false, 5_000_000, 40, "old_ack"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, up, down, stamp := frames.NewViews(), uint32(1001), uint32(5001), uint32(100)
			send := func(client bool, flags byte, data string) {
				stamp++
				if client {
					c.TCP(pod, server, flags, up, down, stamp, data)
					up += uint32(len(data)) + uint32(flags&1)
				} else {
					c.TCP(server, pod, flags, down, up, stamp, data)
					down += uint32(len(data)) + uint32(flags&1)
				}
			}
			call := func(path string) {
				send(true, 0x18, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n")
				send(false, 0x18, answer)
				send(true, 0x10, "")
			}
			c.TCP(pod, server, 2, up-1, 0, 100, "")
			c.TCP(server, pod, 0x12, down-1, up, 100, "")
			send(true, 0x10, "")
			call("/first")
			decoy := tt.stamp
			if decoy == 0 {
				decoy = stamp + 1
			}
			if tt.byPeer {
				c.TCP(server, pod, 0x18, down+tt.ahead, up+tt.acks, decoy, "HTTP/1.1 500 Forged\r\nContent-Length: 0\r\n\r\n")
			} else {
				c.TCP(pod, server, 0x18, up+tt.ahead, down+tt.acks, decoy, "GET /forged HTTP/1.1\r\nHost: a\r\n\r\n")
			}
			for i := range tt.calls {
				c.Time += tt.pause
				call(fmt.Sprintf("/%d", i))
			}
			send(true, 0x11, "")
			send(false, 0x11, "")
			send(true, 0x10, "")
			got := exportertest.Answers(t, &c.Buf, "select count(*) || ' calls, ' || count(*) filter (where status_code = 204 and path <> '/forged') || ' right' from calls",
				"select string_agg(distinct kind, ' ') from anomalies where source <> 'link'")
			if want := fmt.Sprintf("%d calls, %d right", tt.calls+1, tt.calls+1); got[0] != want || got[1] != tt.anomaly {
				t.Errorf("%s, anomalies %s; want %s, %s", got[0], got[1], want, tt.anomaly)
			}
		})
	}
}
