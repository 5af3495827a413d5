package exporter

import (
	"net/netip"
	"testing"

	"github.com/pcapsule/pcapsule/samples/frames"
)

// TestUnfinishedChecksumsAreReportedOnce has connections of all shards on one interface.
func TestUnfinishedChecksumsAreReportedOnce(t *testing.T) {
	m, _ := made(t, Options{Stdin: floods["SYNs from random addresses"].make(500)}, "-")
	if got := m.Accounts.Counters["link"]["unfinished_checksums"]; got != 1 {
		t.Errorf("told %d times, want once: %v", got, m.Accounts.Counters)
	}
}

// before is the address that the capture had before it was rewritten.
var before = netip.MustParseAddr("192.0.2.7")

func rewrittenSum(_, dst netip.Addr, proto byte, body []byte) uint16 {
	return frames.Checksum(before, dst, proto, body)
}

// unfinishedSum is that of the pseudo-header before the capture was rewritten.
func unfinishedSum(_, dst netip.Addr, proto byte, body []byte) uint16 {
	return ^frames.Checksum(before, dst, proto, make([]byte, len(body)))
}

func TestChecksumsOfADirection(t *testing.T) {
	const client, server = "10.0.0.1:40000", "10.0.0.9:80"
	const ask, answer = "GET /x HTTP/1.1\r\nHost: service\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	const fake = "HTTP/1.1 500 NO\r\nContent-Length: 2\r\n\r\nno"
	n, m := uint32(len(ask)), uint32(len(answer))
	type sum = func(src, dst netip.Addr, proto byte, body []byte) uint16
	wrong := func(by uint16) sum {
		return func(src, dst netip.Addr, proto byte, body []byte) uint16 {
			return frames.Checksum(src, dst, proto, body) ^ by
		}
	}
	play := func(up, down sum, forged ...func(c *frames.Views)) func(c *frames.Views) {
		return func(c *frames.Views) {
			forge := func(i int) {
				if len(forged) > i && forged[i] != nil {
					forged[i](c)
				}
			}
			send := func(s sum, src, dst string, flags byte, seq, ack uint32, data string) {
				c.Sum = s
				c.TCP(src, dst, flags, seq, ack, 0, data)
			}
			send(up, client, server, 0x02, 100, 0, "")
			forge(0)
			send(down, server, client, 0x12, 500, 101, "")
			send(up, client, server, 0x10, 101, 501, "")
			send(up, client, server, 0x18, 101, 501, ask)
			forge(1)
			send(down, server, client, 0x10, 501, 101+n, "")
			send(down, server, client, 0x18, 501, 101+n, answer[:20])
			send(down, server, client, 0x18, 521, 101+n, answer[20:])
			send(up, client, server, 0x10, 101+n, 501+m, "")
			send(up, client, server, 0x11, 101+n, 501+m, "")
			send(down, server, client, 0x11, 501+m, 102+n, "")
		}
	}
	segment := func(s sum, times int, flags byte, seq, ack uint32, data string) func(c *frames.Views) {
		return func(c *frames.Views) {
			c.Sum = s
			for range times {
				c.TCP(server, client, flags, seq, ack, 0, data)
			}
		}
	}
	for _, tt := range []struct {
		name string
		play func(c *frames.Views)
		want string
	}{
		{"all right", play(frames.Checksum, frames.Checksum), "200 true"},
		{"the server's address was rewritten", play(frames.Checksum, rewrittenSum), "200 true, rewritten_checksum"},
		{"the client's address was rewritten", play(rewrittenSum, frames.Checksum), "200 true, unproven_checksum"},
		{"an adapter completes the server's, whose address was rewritten", play(frames.Checksum, unfinishedSum), "200 true, rewritten_checksum"},
		{"both addresses were rewritten", play(rewrittenSum, rewrittenSum), "200 true, unproven_checksum"},
		{"all of a direction are wrong without a pattern", func(c *frames.Views) {
			no := uint16(0)
			play(frames.Checksum, func(src, dst netip.Addr, proto byte, body []byte) uint16 {
				no += 77
				return wrong(no)(src, dst, proto, body)
			})(c)
		}, "- false, bad_checksum"},
		{"a forged answer before the right one", play(frames.Checksum, frames.Checksum, nil, segment(wrong(7), 1, 0x18, 501, 101+n, fake)), "200 true, bad_checksum"},
		{"many forged answers before the right one", play(frames.Checksum, frames.Checksum, nil, segment(wrong(7), 20, 0x18, 501, 101+n, fake)), "200 true, bad_checksum"},
		{"a forged SYN-ACK before the right one", play(frames.Checksum, frames.Checksum, segment(wrong(7), 1, 0x12, 900, 101, "")), "200 true, bad_checksum"},
		{"4 forged SYN-ACKs before the right one", play(frames.Checksum, frames.Checksum, segment(wrong(7), 4, 0x12, 900, 101, "")), "200 true, bad_checksum"},
		{"a forged answer in a rewritten direction", play(frames.Checksum, rewrittenSum, nil, segment(wrong(7), 1, 0x18, 501, 101+n, fake)), "200 true, bad_checksum rewritten_checksum"},
		{"forged resets in a rewritten direction", play(frames.Checksum, rewrittenSum, nil, segment(wrong(7), 3, 0x14, 501, 101+n, "")), "200 true, bad_checksum rewritten_checksum"},
		{"forged answers to a datagram", func(c *frames.Views) {
			q := frames.Query(77, "service")
			c.Sum = frames.Checksum
			c.UDP("10.0.0.1:4000", "10.0.0.9:53", q)
			c.Sum = wrong(7)
			for range 5 {
				c.UDP("10.0.0.9:53", "10.0.0.1:4000", frames.Reply(q, 66))
			}
			c.Sum = frames.Checksum
			c.UDP("10.0.0.9:53", "10.0.0.1:4000", frames.Reply(q, 1))
		}, "0 true, bad_checksum"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := frames.NewViews()
			tt.play(c)
			got := answers(t, c, "select (select coalesce(status_code::varchar, '-') || ' ' || complete from calls) || coalesce(', ' || (select string_agg(distinct kind, ' ' order by kind) from anomalies where source != 'link'), '')")[0]
			if got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestManyPacketsWithTheSameProblemAreAllCounted has more of them than get a row each.
func TestManyPacketsWithTheSameProblemAreAllCounted(t *testing.T) {
	const n = 500
	m, _ := made(t, Options{Stdin: newFrames(n, func(i int, to []byte) []byte {
		return append(frames.AppendIPv4(to, 17, 1, 2, uint16(i+1), 0, 100), 0, 53, 0, 53, 0, 100, 0, 0) // 92 bytes less than the header says
	})}, "-")
	packets, rows := m.Accounts.Counters["packet"], m.Accounts.Counters["link"]
	if len(packets) == 0 {
		t.Fatal("no problem was found")
	}
	for kind, want := range packets {
		if want != n || rows[kind] != want {
			t.Errorf("%s: the anomalies count %d of %d packets, want %d", kind, rows[kind], want, n)
		}
	}
}
