package exporter

import (
	"fmt"
	"testing"
)

// TestAnswersFromWhatWasDialled has a loopback device on a machine that translates its own connections: packets of the
// client have the translated end, those of the server the one that was dialled. They are one connection, to that end.
func TestAnswersFromWhatWasDialled(t *testing.T) {
	const client, dialled, sidecar = "10.0.0.5:40000", "10.96.0.10:80", "127.0.0.1:15001"
	const isn, other = 70_000_000, 500_000_000
	about := []string{
		"select string_agg(dst_ip || ' ' || dst_port || ' ' || complete, ', ' order by call_no) from {calls}",
		"select string_agg(dst_ip || ' ' || flows || ' ' || pair_method, ', ' order by conn_id) from {connections}",
		"select string_agg(dst_ip || ' ' || src_packets || ' ' || dst_packets, ', ' order by flow_id) from {flows}",
		"select string_agg(e.ip, ', ' order by call_no) from {calls} c join {endpoints} e on e.endpoint_id = c.dst_id",
	}
	type play func(up, down func(flags byte, seq, ack uint32, data string))
	exchange := func(up, down func(flags byte, seq, ack uint32, data string)) {
		seq, ack := uint32(isn+1), uint32(other+1)
		for i := range 2 {
			ask := fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: svc\r\n\r\n", i)
			answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%02d", i)
			up(0x18, seq, ack, ask)
			seq += uint32(len(ask))
			down(0x18, ack, seq, answer)
			ack += uint32(len(answer))
		}
		up(0x11, seq, ack, "")
		down(0x11, ack, seq+1, "")
		up(0x10, seq+1, ack+1, "")
	}
	handshake := func(answer uint32) play {
		return func(up, down func(flags byte, seq, ack uint32, data string)) {
			up(0x02, isn, 0, "")
			down(0x12, other, answer, "")
			up(0x10, isn+1, other+1, "")
		}
	}
	for _, tt := range []struct {
		name string
		play []play
		want []string
	}{
		{"translated", []play{handshake(isn + 1), exchange},
			[]string{"10.96.0.10 80 true, 10.96.0.10 80 true", "10.96.0.10 2 sequence", "127.0.0.1 6 0, 10.96.0.10 0 4", "127.0.0.1, 127.0.0.1"}},
		{"the client's acknowledgement is lost", []play{func(up, down func(flags byte, seq, ack uint32, data string)) {
			up(0x02, isn, 0, "")
			down(0x12, other, isn+1, "")
		}, exchange}, []string{"10.96.0.10 80 true, 10.96.0.10 80 true", "10.96.0.10 2 sequence", "127.0.0.1 5 0, 10.96.0.10 0 4", "127.0.0.1, 127.0.0.1"}},
		{"the answer is for another SYN", []play{handshake(isn + 5), exchange},
			[]string{"10.96.0.10 80 false, 10.96.0.10 80 false, 127.0.0.1 15001 false, 127.0.0.1 15001 false", "127.0.0.1 1 single, 10.96.0.10 1 single", "127.0.0.1 6 0, 10.96.0.10 0 4",
				"10.96.0.10, 10.96.0.10, 127.0.0.1, 127.0.0.1"}},
		{"a forged answer that the client does not acknowledge", []play{func(up, down func(flags byte, seq, ack uint32, data string)) {
			up(0x02, isn, 0, "")
			down(0x12, other, isn+1, "")
			down(0x18, other+1, isn+1, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
		}}, []string{"10.96.0.10 80 false", "127.0.0.1 1 single, 10.96.0.10 1 single", "", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newTranslated()
			for _, p := range tt.play {
				p(func(flags byte, seq, ack uint32, data string) { c.packet(client, sidecar, flags, seq, ack, 9, data) },
					func(flags byte, seq, ack uint32, data string) { c.packet(dialled, client, flags, seq, ack, 9, data) })
			}
			for i, got := range c.answers(t, about...) {
				if want := tt.want[i]; want != "" && got != want {
					t.Errorf("\n got %q\nwant %q", got, want)
				}
			}
		})
	}
}
