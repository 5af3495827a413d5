package proof_test

import (
	"testing"

	"github.com/pcapsule/pcapsule/exporter/exportertest"
	"github.com/pcapsule/pcapsule/samples/frames"
)

// TestAnswersFromWhatWasDialled has a loopback device on a machine that translates its own connections: packets of the
// client have the translated end, those of the server the one that was dialled. They are one connection, to that end.
func TestAnswersFromWhatWasDialled(t *testing.T) {
	const client, dialled, sidecar = "10.0.0.5:40000", "10.96.0.10:80", "127.0.0.1:15001"
	up, down := route{{client, sidecar}}, route{{dialled, client}}
	about := []string{
		"select string_agg(dst_ip || ' ' || dst_port || ' ' || complete, ', ' order by call_no) from calls",
		"select string_agg(dst_ip || ' ' || flows || ' ' || pair_method, ', ' order by conn_id) from connections",
		"select string_agg(dst_ip || ' ' || src_packets || ' ' || dst_packets, ', ' order by flow_id) from flows",
		"select string_agg(e.ip, ', ' order by call_no) from calls c join endpoints e on e.endpoint_id = c.dst_id",
	}
	for _, tt := range []struct {
		name string
		play func(c *frames.Views)
		want []string
	}{
		{"translated", func(c *frames.Views) { talk(c, up, down, 9, true) },
			[]string{"10.96.0.10 80 true, 10.96.0.10 80 true", "10.96.0.10 2 sequence", "127.0.0.1 8 0, 10.96.0.10 0 4", "127.0.0.1, 127.0.0.1"}},
		{"the client's acknowledgement is lost", func(c *frames.Views) {
			along(c, up, 0x02, clientISN, 0, 9, "")
			along(c, down, 0x12, serverISN, clientISN+1, 9, "")
			talk(c, up, down, 9, false)
		}, []string{"10.96.0.10 80 true, 10.96.0.10 80 true", "10.96.0.10 2 sequence", "127.0.0.1 7 0, 10.96.0.10 0 4", "127.0.0.1, 127.0.0.1"}},
		{"the answer is for another SYN", func(c *frames.Views) {
			along(c, up, 0x02, clientISN, 0, 9, "")
			along(c, down, 0x12, serverISN, clientISN+5, 9, "")
			along(c, up, 0x10, clientISN+1, serverISN+1, 9, "")
			talk(c, up, down, 9, false)
		}, []string{"10.96.0.10 80 false, 10.96.0.10 80 false, 127.0.0.1 15001 false, 127.0.0.1 15001 false", "127.0.0.1 1 single, 10.96.0.10 1 single", "127.0.0.1 8 0, 10.96.0.10 0 4",
			"10.96.0.10, 10.96.0.10, 127.0.0.1, 127.0.0.1"}},
		{"a forged answer that the client does not acknowledge", func(c *frames.Views) {
			along(c, up, 0x02, clientISN, 0, 9, "")
			along(c, down, 0x12, serverISN, clientISN+1, 9, "")
			along(c, down, 0x18, serverISN+1, clientISN+1, 9, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
		}, []string{"10.96.0.10 80 false", "127.0.0.1 1 single, 10.96.0.10 1 single", "127.0.0.1 1 0, 10.96.0.10 0 2", "10.96.0.10"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := frames.NewViews()
			tt.play(c)
			for i, got := range exportertest.Answers(t, &c.Buf, about...) {
				if want := tt.want[i]; got != want {
					t.Errorf("\n got %q\nwant %q", got, want)
				}
			}
		})
	}
}
