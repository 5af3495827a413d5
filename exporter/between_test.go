package exporter

import (
	"fmt"
	"testing"
)

// TestBetweenTwoTranslations has a node that translates both ends, and whose bridge shows the client's packets a third
// time, with one end translated, but no answers. All three are one conversation.
func TestBetweenTwoTranslations(t *testing.T) {
	const client, dialled, masked, server = "10.0.0.5:40000", "10.96.0.10:80", "10.0.0.1:61000", "10.0.1.7:8080"
	questions := []string{
		"select string_agg(dst_ip || ' ' || complete, ', ') from {calls}",
		"select string_agg(flows, ', ' order by conn_id) from {connections}",
		"select string_agg(dst_packets = 0, ', ' order by flow_id) from {flows}",
		"select count(*)::varchar from {anomalies} where kind not in ('midstream', 'unfinished_checksums')",
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
					const isn, other = 70_000_000, 500_000_000
					c := newTranslated()
					up := func(flags byte, seq, ack uint32, data string) {
						for _, ends := range [][2]string{{client, dialled}, tt.middle, {masked, server}} {
							c.packet(ends[0], ends[1], flags, seq, ack, stamp, data)
						}
					}
					down := func(flags byte, seq, ack uint32, data string) {
						c.packet(server, masked, flags, seq, ack, stamp, data)
						c.packet(dialled, client, flags, seq, ack, stamp, data)
					}
					if handshake {
						up(0x02, isn, 0, "")
						down(0x12, other, isn+1, "")
						up(0x10, isn+1, other+1, "")
					}
					seq, ack := uint32(isn+1), uint32(other+1)
					for i := range 2 {
						ask := fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: svc\r\n\r\n", i)
						answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%02d", i)
						up(0x18, seq, ack, ask)
						seq += uint32(len(ask))
						down(0x18, ack, seq, answer)
						ack += uint32(len(answer))
						up(0x10, seq, ack, "")
					}
					up(0x11, seq, ack, "")
					down(0x11, ack, seq+1, "")
					if got, want := c.answers(t, questions...), want("false, true, false"); fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("\n got %q\nwant %q", got, want)
					}
				})
			}
		}
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, datagrams, the bridge is late: %v", tt.name, late), func(t *testing.T) {
				c := newTranslated()
				for id := range uint16(2) {
					q := query(id, "svc.local")
					c.udp(client, dialled, q)
					if !late {
						c.udp(tt.middle[0], tt.middle[1], q)
					}
					c.udp(masked, server, q)
					c.udp(server, masked, reply(q, 1))
					c.udp(dialled, client, reply(q, 1))
					if late {
						c.udp(tt.middle[0], tt.middle[1], q)
					}
				}
				halves := map[bool]string{false: "false, true, false", true: "false, false, true"}[late]
				if got, want := c.answers(t, questions...), want(halves); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("\n got %q\nwant %q", got, want)
				}
			})
		}
	}
}

// TestAskedTwiceIsNotBetween has a client that asks a second server the same, which does not answer: that its end is not
// one of a translation shows that the question is another call.
func TestAskedTwiceIsNotBetween(t *testing.T) {
	c := newTranslated()
	for id := range uint16(2) {
		q := query(id, "svc.local")
		c.udp(pod, dnsService, q)
		c.udp(pod, "10.244.9.9:8053", q)
		c.udp(nodeEnd, dnsPod, q)
		c.udp(dnsPod, nodeEnd, reply(q, 1))
		c.udp(dnsService, pod, reply(q, 1))
	}
	got := c.answers(t, "select string_agg(dst_ip || ' ' || complete, ', ' order by dst_ip) from {calls}", "select string_agg(flows, ', ' order by conn_id) from {connections}")
	if want := []string{"10.244.9.9 false, 10.244.9.9 false, 10.96.0.10 true, 10.96.0.10 true", "2, 1"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

// TestAnswersBetweenTwoTranslations has a client outside of a node that translates both ends: the node's bridge shows the
// server's packets a third time, with the client's end translated back, but no questions. All three are one conversation.
func TestAnswersBetweenTwoTranslations(t *testing.T) {
	const client, dialled, masked, server = "192.0.2.254:40000", "192.0.2.1:30080", "10.0.0.1:61000", "10.0.1.7:8080"
	const isn, other = 70_000_000, 500_000_000
	questions := []string{
		"select string_agg(dst_ip || ' ' || complete, ', ') from {calls}",
		"select string_agg(flows, ', ' order by conn_id) from {connections}",
		"select string_agg(src_packets = 0, ', ' order by flow_id) from {flows}",
		"select count(*)::varchar from {anomalies} where kind not in ('midstream', 'unfinished_checksums')",
	}
	want := fmt.Sprint([]string{"192.0.2.1 true, 192.0.2.1 true", "3", "false, false, true", "0"})
	for _, stamp := range []uint32{99, 0} {
		for _, handshake := range []bool{true, false} {
			t.Run(fmt.Sprintf("time stamp %d, handshake %v", stamp, handshake), func(t *testing.T) {
				c := newTranslated()
				c.talkOverTwo(client, dialled, masked, server, [2]string{client, server}, isn, other, stamp, handshake)
				if got := c.answers(t, questions...); fmt.Sprint(got) != want {
					t.Errorf("\n got %q\nwant %q", got, want)
				}
			})
		}
	}
	t.Run("datagrams", func(t *testing.T) {
		c := newTranslated()
		for id := range uint16(2) {
			q := query(id, "svc.local")
			c.udp(client, dialled, q)
			c.udp(masked, server, q)
			c.udp(server, masked, reply(q, 1))
			c.udp(server, client, reply(q, 1))
			c.udp(dialled, client, reply(q, 1))
		}
		if got := c.answers(t, questions...); fmt.Sprint(got) != want {
			t.Errorf("\n got %q\nwant %q", got, want)
		}
	})
}

// talkOverTwo writes two HTTP exchanges that two translations show; answers are seen under ends between them too.
func (t *translated) talkOverTwo(client, dialled, masked, server string, between [2]string, isn, other, stamp uint32, handshake bool) {
	up := func(flags byte, seq, ack uint32, data string) {
		t.packet(client, dialled, flags, seq, ack, stamp, data)
		t.packet(masked, server, flags, seq, ack, stamp, data)
	}
	down := func(flags byte, seq, ack uint32, data string) {
		t.packet(server, masked, flags, seq, ack, stamp, data)
		t.packet(between[1], between[0], flags, seq, ack, stamp, data)
		t.packet(dialled, client, flags, seq, ack, stamp, data)
	}
	if handshake {
		up(0x02, isn, 0, "")
		down(0x12, other, isn+1, "")
		up(0x10, isn+1, other+1, "")
	}
	seq, ack := isn+1, other+1
	for i := range 2 {
		ask := fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: svc\r\n\r\n", i)
		answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n%02d", i)
		up(0x18, seq, ack, ask)
		seq += uint32(len(ask))
		down(0x18, ack, seq, answer)
		ack += uint32(len(answer))
		up(0x10, seq, ack, "")
	}
	up(0x11, seq, ack, "")
	down(0x11, ack, seq+1, "")
	up(0x10, seq+1, ack+1, "")
}

// TestAnswersThatAreNotBetween has answers of the server of a translation that nobody asked for. They are not those of the
// client's connection: no row of that changes, and they do not vanish.
func TestAnswersThatAreNotBetween(t *testing.T) {
	const client, dialled, masked, server = "192.0.2.254:40000", "192.0.2.1:30080", "10.0.0.1:61000", "10.0.1.7:8080"
	const isn, other = 70_000_000, 500_000_000
	q, q2 := query(1, "svc.local"), query(2, "svc.local")
	for _, tt := range []struct {
		name string
		play func(c *translated)
		want []string
	}{
		{"to another client", func(c *translated) {
			c.talkOverTwo(client, dialled, masked, server, [2]string{"192.0.2.99:40000", server}, isn, other, 99, true)
		}, []string{"192.0.2.1 true, 192.0.2.1 true", "2, 1", "2"}},
		{"from another server", func(c *translated) {
			c.talkOverTwo(client, dialled, masked, server, [2]string{client, "10.0.1.66:8080"}, isn, other, 99, true)
		}, []string{"192.0.2.1 true, 192.0.2.1 true", "2, 1", "2"}},
		{"with another number", func(c *translated) {
			c.packet(client, dialled, 0x02, isn, 0, 99, "")
			c.packet(masked, server, 0x02, isn, 0, 99, "")
			c.packet(server, masked, 0x12, other, isn+1, 99, "")
			c.packet(server, client, 0x12, other+9, isn+1, 99, "")
			c.packet(server, client, 0x18, other+10, isn+1, 99, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
			c.talkOverTwo(client, dialled, masked, server, [2]string{client, dialled}, isn, other, 99, true)
		}, []string{"192.0.2.1 true, 192.0.2.1 true", "2, 1", "1"}},
		{"a datagram with another answer", func(c *translated) {
			c.udp(client, dialled, q)
			c.udp(masked, server, q)
			c.udp(server, masked, reply(q, 1))
			c.udp(server, client, reply(q, 66))
			c.udp(dialled, client, reply(q, 1))
		}, []string{"192.0.2.1 true", "2, 1", "1"}},
		{"a datagram with another answer, after equal ones", func(c *translated) {
			for i, q := range []string{q, q2} {
				c.udp(client, dialled, q)
				c.udp(masked, server, q)
				c.udp(server, masked, reply(q, 1))
				c.udp(server, client, reply(q, byte(1+65*i)))
				c.udp(dialled, client, reply(q, 1))
			}
		}, []string{"192.0.2.1 true, 192.0.2.1 true", "3, 1", "1"}},
		{"the client asks the server itself", func(c *translated) {
			c.udp(client, dialled, q)
			c.udp(masked, server, q)
			c.udp(server, masked, reply(q, 1))
			c.udp(server, client, reply(q, 1))
			c.udp(dialled, client, reply(q, 1))
			c.udp(client, server, q2)
			c.udp(server, client, reply(q2, 2))
		}, []string{"192.0.2.1 true, 10.0.1.7 true", "3, 1", "0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newTranslated()
			tt.play(c)
			got := c.answers(t, "select string_agg(dst_ip || ' ' || complete, ', ' order by call_no) from {calls} where complete",
				"select string_agg(flows, ', ' order by conn_id) from {connections}", "select count(*)::varchar from {calls} where not complete")
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("\n got %q\nwant %q", got, tt.want)
			}
		})
	}
}
