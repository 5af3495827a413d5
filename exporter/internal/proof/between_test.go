package proof_test

import (
	"fmt"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/exportertest"
	"github.com/pcapsule/pcapsule/samples/frames"
)

// TestBetweenTwoTranslations has a node that translates both ends, and whose bridge shows the client's packets a third
// time, with one end translated, but no answers. All three are one conversation.
func TestBetweenTwoTranslations(t *testing.T) {
	const client, dialled, masked, server = "10.0.0.5:40000", "10.96.0.10:80", "10.0.0.1:61000", "10.0.1.7:8080"
	questions := []string{
		"select string_agg(dst_ip || ' ' || complete, ', ') from calls",
		"select string_agg(flows, ', ' order by conn_id) from connections",
		"select string_agg(dst_packets = 0, ', ' order by flow_id) from flows",
		"select count(*)::varchar from anomalies where kind not in ('midstream', 'unfinished_checksums')",
	}
	want := func(halves string) []string {
		return []string{"10.96.0.10 true, 10.96.0.10 true", "3", halves, "0"}
	}
	for _, tt := range []struct {
		name   string
		middle [2]string
	}{{"the server's end first", [2]string{client, server}}, {"the client's end first", [2]string{masked, dialled}}} {
		for _, stamp := range []uint32{99, 0} {
			for _, handshake := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, time stamp %d, handshake %v", tt.name, stamp, handshake), func(t *testing.T) {
					c := frames.NewViews()
					talk(c, route{{client, dialled}, tt.middle, {masked, server}}, route{{server, masked}, {dialled, client}}, stamp, handshake)
					if got, want := exportertest.Answers(t, &c.Buf, questions...), want("false, true, false"); fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("\n got %q\nwant %q", got, want)
					}
				})
			}
		}
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, datagrams, the bridge is late: %v", tt.name, late), func(t *testing.T) {
				c := frames.NewViews()
				for id := range uint16(2) {
					q := frames.Query(id, "svc.local")
					c.UDP(client, dialled, q)
					if !late {
						c.UDP(tt.middle[0], tt.middle[1], q)
					}
					c.UDP(masked, server, q)
					c.UDP(server, masked, frames.Reply(q, 1))
					c.UDP(dialled, client, frames.Reply(q, 1))
					if late {
						c.UDP(tt.middle[0], tt.middle[1], q)
					}
				}
				halves := map[bool]string{false: "false, true, false", true: "false, false, true"}[late]
				if got, want := exportertest.Answers(t, &c.Buf, questions...), want(halves); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("\n got %q\nwant %q", got, want)
				}
			})
		}
	}
}

// TestAskedTwiceIsNotBetween has a client that asks a second server the same, which does not answer: that its end is not
// one of a translation shows that the question is another call.
func TestAskedTwiceIsNotBetween(t *testing.T) {
	c := frames.NewViews()
	for id := range uint16(2) {
		q := frames.Query(id, "svc.local")
		c.UDP(pod, dnsService, q)
		c.UDP(pod, "10.244.9.9:8053", q)
		c.UDP(nodeEnd, dnsPod, q)
		c.UDP(dnsPod, nodeEnd, frames.Reply(q, 1))
		c.UDP(dnsService, pod, frames.Reply(q, 1))
	}
	got := exportertest.Answers(t, &c.Buf, "select string_agg(dst_ip || ' ' || complete, ', ' order by dst_ip) from calls", "select string_agg(flows, ', ' order by conn_id) from connections")
	if want := []string{"10.244.9.9 false, 10.244.9.9 false, 10.96.0.10 true, 10.96.0.10 true", "2, 1"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

// TestAnswersBetweenTwoTranslations has a client outside of a node that translates both ends: the node's bridge shows the
// server's packets a third time, with the client's end translated back, but no questions. All three are one conversation.
func TestAnswersBetweenTwoTranslations(t *testing.T) {
	const client, dialled, masked, server = "192.0.2.254:40000", "192.0.2.1:30080", "10.0.0.1:61000", "10.0.1.7:8080"
	questions := []string{
		"select string_agg(dst_ip || ' ' || complete, ', ') from calls",
		"select string_agg(flows, ', ' order by conn_id) from connections",
		"select string_agg(src_packets = 0, ', ' order by flow_id) from flows",
		"select count(*)::varchar from anomalies where kind not in ('midstream', 'unfinished_checksums')",
	}
	want := fmt.Sprint([]string{"192.0.2.1 true, 192.0.2.1 true", "3", "false, false, true", "0"})
	for _, stamp := range []uint32{99, 0} {
		for _, handshake := range []bool{true, false} {
			t.Run(fmt.Sprintf("time stamp %d, handshake %v", stamp, handshake), func(t *testing.T) {
				c := frames.NewViews()
				talk(c, route{{client, dialled}, {masked, server}}, route{{server, masked}, {server, client}, {dialled, client}}, stamp, handshake)
				if got := exportertest.Answers(t, &c.Buf, questions...); fmt.Sprint(got) != want {
					t.Errorf("\n got %q\nwant %q", got, want)
				}
			})
		}
	}
	t.Run("datagrams", func(t *testing.T) {
		c := frames.NewViews()
		for id := range uint16(2) {
			q := frames.Query(id, "svc.local")
			c.UDP(client, dialled, q)
			c.UDP(masked, server, q)
			c.UDP(server, masked, frames.Reply(q, 1))
			c.UDP(server, client, frames.Reply(q, 1))
			c.UDP(dialled, client, frames.Reply(q, 1))
		}
		if got := exportertest.Answers(t, &c.Buf, questions...); fmt.Sprint(got) != want {
			t.Errorf("\n got %q\nwant %q", got, want)
		}
	})
}

// A route is the sender and the receiver of a packet at each place that a capture shows.
type route [][2]string

// Numbers of the SYN and the SYN-ACK of talk.
const clientISN, serverISN = 70_000_000, 500_000_000

// along writes a TCP packet at each place of a route.
func along(t *frames.Views, r route, flags byte, seq, ack, stamp uint32, data string) {
	for _, ends := range r {
		t.TCP(ends[0], ends[1], flags, seq, ack, stamp, data)
	}
}

// talk writes a connection with two HTTP exchanges; up and down are the routes of the client's and the server's packets.
func talk(t *frames.Views, up, down route, stamp uint32, handshake bool) {
	if handshake {
		along(t, up, 0x02, clientISN, 0, stamp, "")
		along(t, down, 0x12, serverISN, clientISN+1, stamp, "")
		along(t, up, 0x10, clientISN+1, serverISN+1, stamp, "")
	}
	seq, ack := uint32(clientISN+1), uint32(serverISN+1)
	for i := range 2 {
		ask := fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: svc\r\n\r\n", i)
		answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%02d", i)
		along(t, up, 0x18, seq, ack, stamp, ask)
		seq += uint32(len(ask))
		along(t, down, 0x18, ack, seq, stamp, answer)
		ack += uint32(len(answer))
		along(t, up, 0x10, seq, ack, stamp, "")
	}
	along(t, up, 0x11, seq, ack, stamp, "")
	along(t, down, 0x11, ack, seq+1, stamp, "")
	along(t, up, 0x10, seq+1, ack+1, stamp, "")
}

// TestAnswersThatAreNotBetween has answers of the server of a translation that nobody asked for. They are not those of the
// client's connection: no row of that changes, and they do not vanish.
func TestAnswersThatAreNotBetween(t *testing.T) {
	const client, dialled, masked, server = "192.0.2.254:40000", "192.0.2.1:30080", "10.0.0.1:61000", "10.0.1.7:8080"
	q, q2 := frames.Query(1, "svc.local"), frames.Query(2, "svc.local")
	for _, tt := range []struct {
		name string
		play func(c *frames.Views)
		want []string
	}{
		{"to another client", func(c *frames.Views) {
			talk(c, route{{client, dialled}, {masked, server}}, route{{server, masked}, {server, "192.0.2.99:40000"}, {dialled, client}}, 99, true)
		}, []string{"192.0.2.1 true, 192.0.2.1 true", "2, 1", "2"}},
		{"from another server", func(c *frames.Views) {
			talk(c, route{{client, dialled}, {masked, server}}, route{{server, masked}, {"10.0.1.66:8080", client}, {dialled, client}}, 99, true)
		}, []string{"192.0.2.1 true, 192.0.2.1 true", "2, 1", "2"}},
		{"with another number", func(c *frames.Views) {
			c.TCP(client, dialled, 0x02, clientISN, 0, 99, "")
			c.TCP(masked, server, 0x02, clientISN, 0, 99, "")
			c.TCP(server, masked, 0x12, serverISN, clientISN+1, 99, "")
			c.TCP(server, client, 0x12, serverISN+9, clientISN+1, 99, "")
			c.TCP(server, client, 0x18, serverISN+10, clientISN+1, 99, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
			talk(c, route{{client, dialled}, {masked, server}}, route{{server, masked}, {dialled, client}, {dialled, client}}, 99, true)
		}, []string{"192.0.2.1 true, 192.0.2.1 true", "2, 1", "1"}},
		{"a datagram with another answer", func(c *frames.Views) {
			c.UDP(client, dialled, q)
			c.UDP(masked, server, q)
			c.UDP(server, masked, frames.Reply(q, 1))
			c.UDP(server, client, frames.Reply(q, 66))
			c.UDP(dialled, client, frames.Reply(q, 1))
		}, []string{"192.0.2.1 true", "2, 1", "1"}},
		{"a datagram with another answer, after equal ones", func(c *frames.Views) {
			for i, q := range []string{q, q2} {
				c.UDP(client, dialled, q)
				c.UDP(masked, server, q)
				c.UDP(server, masked, frames.Reply(q, 1))
				c.UDP(server, client, frames.Reply(q, byte(1+65*i)))
				c.UDP(dialled, client, frames.Reply(q, 1))
			}
		}, []string{"192.0.2.1 true, 192.0.2.1 true", "3, 1", "1"}},
		{"the client asks the server itself", func(c *frames.Views) {
			c.UDP(client, dialled, q)
			c.UDP(masked, server, q)
			c.UDP(server, masked, frames.Reply(q, 1))
			c.UDP(server, client, frames.Reply(q, 1))
			c.UDP(dialled, client, frames.Reply(q, 1))
			c.UDP(client, server, q2)
			c.UDP(server, client, frames.Reply(q2, 2))
		}, []string{"192.0.2.1 true, 10.0.1.7 true", "3, 1", "0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := frames.NewViews()
			tt.play(c)
			got := exportertest.Answers(t, &c.Buf, "select string_agg(dst_ip || ' ' || complete, ', ' order by call_no) from calls where complete",
				"select string_agg(flows, ', ' order by conn_id) from connections", "select count(*)::varchar from calls where not complete")
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("\n got %q\nwant %q", got, tt.want)
			}
		})
	}
}
