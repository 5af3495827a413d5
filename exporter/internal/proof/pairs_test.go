package proof_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/exportertest"
	"github.com/pcapsule/pcapsule/samples/frames"
)

const (
	pod, dnsService, dnsPod, nodeEnd = "10.244.0.5:40000", "10.96.0.10:53", "10.244.1.7:8053", "10.0.0.1:61000"
)

var aboutPairs = []string{
	"select string_agg(src_ip || ' ' || dst_ip || ' ' || complete, ', ' order by call_no) from calls",
	"select string_agg(pair_method || ' ' || flows, ', ' order by conn_id) from connections",
	"select sum(sightings)::varchar from flows",
}

func TestTranslatedDatagramsAreOneCall(t *testing.T) {
	q, r := frames.Query(77, "svc.local"), frames.Reply(frames.Query(77, "svc.local"), 1)
	for _, tt := range []struct{ name, client, server string }{
		{"a service's address becomes a pod's", pod, dnsPod},
		{"the client is masked too", nodeEnd, dnsPod},
		{"only the client is masked", nodeEnd, dnsService},
		{"the server's port alone", pod, "10.96.0.10:8053"},
		{"the client's port alone", "10.244.0.5:61000", dnsService},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := frames.NewViews()
			c.UDP(pod, dnsService, q)
			c.UDP(tt.client, tt.server, q)
			c.UDP(tt.server, tt.client, r)
			c.UDP(dnsService, pod, r)
			server, _, _ := strings.Cut(tt.server, ":")
			got := exportertest.Answers(t, &c.Buf, append(aboutPairs, "select e.ip from calls c join endpoints e on e.endpoint_id = c.dst_id")...)
			if want := []string{"10.244.0.5 10.96.0.10 true", "payload 2", "2", server}; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("\n got %q\nwant %q", got, want)
			}
		})
	}
}

func TestPairsOfDatagrams(t *testing.T) {
	q, r := frames.Query(77, "svc.local"), frames.Reply(frames.Query(77, "svc.local"), 1)
	ask := func(c *frames.Views, client, server string, id uint16, last byte) {
		m := frames.Query(id, "svc.local")
		c.UDP(client, server, m)
		c.UDP(server, client, frames.Reply(m, last))
	}
	const victim, resolver = "10.0.0.8:5000", "10.0.0.53:53"
	for _, tt := range []struct {
		name  string
		play  func(c *frames.Views)
		calls string
		pairs string
		again string
	}{
		{"the other view comes 0.9 s and 5,000 datagrams later", func(c *frames.Views) {
			ask(c, pod, dnsService, 77, 1)
			for i := range 5000 {
				c.UDP("10.9.0.1:9", "10.9.0.2:9", fmt.Sprintf("payload of stream %d", i))
			}
			c.Time += 840_000
			ask(c, pod, dnsPod, 77, 1)
		}, "10.244.0.5 10.96.0.10 true", "payload 2", "2"},
		{"300 questions of one client, and the other view 0.9 s later", func(c *frames.Views) {
			for i := range uint16(300) {
				ask(c, pod, dnsService, i, 1)
			}
			c.Time += 840_000
			for i := range uint16(300) {
				ask(c, pod, dnsPod, i, 1)
			}
		}, strings.Repeat("10.244.0.5 10.96.0.10 true, ", 299) + "10.244.0.5 10.96.0.10 true", "payload 2", "600"},
		{"the answer comes after more packets than can wait", func(c *frames.Views) {
			c.UDP(pod, dnsService, q)
			c.UDP(nodeEnd, dnsPod, q)
			for i := range 20_000 {
				c.UDP("10.9.0.1:9", "10.9.0.2:9", fmt.Sprintf("payload of stream %d", i))
			}
			c.UDP(dnsPod, nodeEnd, r)
			c.UDP(dnsService, pod, r)
		}, "10.244.0.5 10.96.0.10 true, 10.0.0.1 10.244.1.7 true", "single 1, single 1", "0"},
		{"the answer comes after more packets than can wait: the next question, not it, finds the other view", func(c *frames.Views) {
			c.UDP(pod, dnsService, q)
			c.UDP(nodeEnd, dnsPod, q)
			for i := range 20_000 {
				c.UDP("10.9.0.1:9", "10.9.0.2:9", fmt.Sprintf("payload of stream %d", i))
			}
			c.UDP(dnsPod, nodeEnd, r)
			c.UDP(dnsService, pod, r)
			q := frames.Query(78, "svc.local")
			c.UDP(pod, dnsService, q)
			c.UDP(nodeEnd, dnsPod, q)
			c.UDP(dnsPod, nodeEnd, frames.Reply(q, 1))
			c.UDP(dnsService, pod, frames.Reply(q, 1))
		}, "10.244.0.5 10.96.0.10 true, 10.0.0.1 10.244.1.7 true, 10.244.0.5 10.96.0.10 true", "payload 2, single 1", "2"},
		{"the other view comes 1.1 s later", func(c *frames.Views) {
			ask(c, pod, dnsService, 77, 1)
			c.Time += 1_100_000
			ask(c, pod, dnsPod, 77, 1)
		}, "10.244.0.5 10.96.0.10 true, 10.244.0.5 10.244.1.7 true", "single 1, single 1", "0"},
		{"a translator that forgets gives one conversation a sixth port", func(c *frames.Views) {
			for i := range 6 {
				m, end := frames.Query(uint16(i), "svc.local"), fmt.Sprintf("10.0.0.1:%d", 61000+i)
				c.UDP(pod, dnsService, m)
				c.UDP(end, dnsPod, m)
				c.UDP(dnsPod, end, frames.Reply(m, 1))
				c.UDP(dnsService, pod, frames.Reply(m, 1))
			}
		}, strings.Repeat("10.244.0.5 10.96.0.10 true, ", 5) + "10.244.0.5 10.96.0.10 true", "payload 7", "12"},
		{"questions that nobody answers are two", func(c *frames.Views) {
			c.UDP(pod, dnsService, q)
			c.UDP(pod, dnsPod, q)
		}, "10.244.0.5 10.96.0.10 false, 10.244.0.5 10.244.1.7 false", "single 1, single 1", "0"},
		{"two answers to one question are two", func(c *frames.Views) {
			c.UDP(pod, dnsService, q)
			c.UDP(pod, dnsPod, q)
			c.UDP(dnsPod, pod, frames.Reply(q, 2))
			c.UDP(dnsService, pod, r)
		}, "10.244.0.5 10.96.0.10 true, 10.244.0.5 10.244.1.7 true", "single 1, single 1", "0"},
		{"two hosts that ask the same at once, with one id", func(c *frames.Views) {
			c.UDP(pod, dnsService, q)
			c.UDP(victim, dnsService, q)
			c.UDP(dnsService, pod, r)
			c.UDP(dnsService, victim, r)
		}, "10.244.0.5 10.96.0.10 true, 10.0.0.8 10.96.0.10 true", "single 1, single 1", "0"},
		{"two hosts that ask the same after each other, with one id", func(c *frames.Views) {
			ask(c, pod, dnsService, 77, 1)
			ask(c, victim, dnsService, 77, 1)
		}, "10.244.0.5 10.96.0.10 true, 10.0.0.8 10.96.0.10 true", "single 1, single 1", "0"},
		{"two questions at once from one port", func(c *frames.Views) {
			q2 := frames.Query(78, "svc.local")
			for _, m := range []string{q, q2} {
				c.UDP(pod, dnsService, m)
				c.UDP(nodeEnd, dnsPod, m)
			}
			for _, m := range []string{frames.Reply(q2, 2), r} {
				c.UDP(dnsPod, nodeEnd, m)
				c.UDP(dnsService, pod, m)
			}
		}, "10.244.0.5 10.96.0.10 true, 10.244.0.5 10.96.0.10 true", "payload 2", "4"},
		{"the translator's port has another host later", func(c *frames.Views) {
			c.UDP(pod, dnsService, q)
			c.UDP(nodeEnd, dnsPod, q)
			c.UDP(dnsPod, nodeEnd, r)
			c.UDP(dnsService, pod, r)
			ask(c, nodeEnd, dnsPod, 99, 9)
		}, "10.244.0.5 10.96.0.10 true, 10.0.0.1 10.244.1.7 true", "payload 2, single 1", "2"},
		{"keep-alives are too short to prove anything", func(c *frames.Views) {
			c.UDP("10.0.0.1:4500", "10.0.0.2:4500", "\xff")
			c.UDP("10.0.0.3:4500", "10.0.0.4:4500", "\xff")
			c.UDP("10.0.0.4:4500", "10.0.0.3:4500", "\xff")
			c.UDP("10.0.0.2:4500", "10.0.0.1:4500", "\xff")
		}, "", "single 1, single 1", "0"},
		{"made-up copies of a question take nothing from a host", func(c *frames.Views) {
			for i := range 3 {
				c.UDP(fmt.Sprintf("10.66.0.%d:666", i), resolver, q)
			}
			ask(c, victim, resolver, 77, 1)
		}, "10.66.0.0 10.0.0.53 false, 10.66.0.1 10.0.0.53 false, 10.66.0.2 10.0.0.53 false, 10.0.0.8 10.0.0.53 true", "single 1, single 1, single 1, single 1", "0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := frames.NewViews()
			tt.play(c)
			got := exportertest.Answers(t, &c.Buf, "select string_agg(src_ip || ' ' || dst_ip || ' ' || complete, ', ' order by ts_ns, call_no) from calls where protocol = 'dns'",
				"select string_agg(pair_method || ' ' || flows, ', ' order by conn_id) from connections where src_port <> 9", "select sum(sightings)::varchar from flows")
			if want := []string{tt.calls, tt.pairs, tt.again}; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("\n got %q\nwant %q", got, want)
			}
		})
	}
}

// TestSpoofedCopiesHideNothing surrounds 100 lookups of a host with copies of its questions from
// other addresses, before and after them, with wrong answers.
func TestSpoofedCopiesHideNothing(t *testing.T) {
	c := frames.NewViews()
	for i := range 100 {
		client := fmt.Sprintf("10.0.0.8:%d", 5000+i)
		q := frames.Query(uint16(i), "bank.example")
		for k := range i % 7 {
			c.UDP(fmt.Sprintf("10.66.%d.%d:666", i, k), "10.0.0.53:53", q)
			if k%2 == 0 {
				c.UDP("10.0.0.53:53", fmt.Sprintf("10.66.%d.%d:666", i, k), frames.Reply(q, 66))
			}
		}
		c.UDP(client, "10.0.0.53:53", q)
		c.UDP(fmt.Sprintf("10.67.%d.1:666", i), "10.0.0.53:53", q)
		c.UDP("10.0.0.53:53", fmt.Sprintf("10.67.%d.1:666", i), frames.Reply(q, 67))
		c.UDP("10.0.0.53:53", client, frames.Reply(q, 1))
	}
	got := exportertest.Answers(t, &c.Buf, "select count(*)::varchar from calls where src_ip = '10.0.0.8' and complete", "select sum(sightings)::varchar from flows where src_ip = '10.0.0.8'")
	if got[0] != "100" || got[1] != "0" {
		t.Errorf("%s of 100 look-ups of the host, %s copies; want 100 and 0", got[0], got[1])
	}
}

// TestForgedCopyIsShown sends a datagram with the identification and CRC-32C of the previous
// one, but with other bytes.
func TestForgedCopyIsShown(t *testing.T) {
	c := frames.NewViews()
	one, two := frames.Query(7, "mild.example"), frames.Query(7, "evil.example")
	table := crc32.MakeTable(crc32.Castagnoli)
	diff := crc32.Checksum([]byte(one), table) ^ crc32.Checksum([]byte(two), table)
	two += string(binary.LittleEndian.AppendUint32(nil, diff))
	c.UDP(pod, dnsService, one+"\x00\x00\x00\x00")
	c.ID--
	c.UDP(pod, dnsService, two)
	got := exportertest.Answers(t, &c.Buf, "select string_agg(host, ', ' order by call_no) from calls")
	if got[0] != "mild.example, evil.example" {
		t.Errorf("questions about %s, want both", got[0])
	}
}

// TestTranslatedMiddleIsOne reads a TCP connection without a captured handshake.
func TestTranslatedMiddleIsOne(t *testing.T) {
	const ask, answer = "GET /x HTTP/1.1\r\nHost: svc\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for _, tt := range []struct {
		name, client, server string
		seq                  uint32 // of the other view
		want                 []string
	}{
		{"both ends change", nodeEnd, "10.244.1.7:8080", 7000, []string{"10.244.0.5 10.96.0.10 3", "sequence 2"}},
		{"the server's changes", pod, "10.244.1.7:8080", 7000, []string{"10.244.0.5 10.96.0.10 3", "sequence 2"}},
		{"other numbers are another connection", nodeEnd, "10.244.1.7:8080", 9000, []string{"10.0.0.1 10.244.1.7 3, 10.244.0.5 10.96.0.10 3", "single 1, single 1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := frames.NewViews()
			seq, ack := uint32(7000), uint32(500)
			for range 3 {
				up, down := uint32(len(ask)), uint32(len(answer))
				c.TCP(pod, "10.96.0.10:80", 0x18, seq, ack, 99, ask)
				c.TCP(tt.client, tt.server, 0x18, seq-7000+tt.seq, ack, 99, ask)
				c.TCP(tt.server, tt.client, 0x18, ack, seq-7000+tt.seq+up, 98, answer)
				c.TCP("10.96.0.10:80", pod, 0x18, ack, seq+up, 98, answer)
				seq, ack = seq+up, ack+down
			}
			got := exportertest.Answers(t, &c.Buf, "select string_agg(a, ', ' order by a) from (select src_ip || ' ' || dst_ip || ' ' || count(*) as a from calls where complete group by src_ip, dst_ip)",
				"select string_agg(pair_method || ' ' || flows, ', ' order by conn_id) from connections")
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("\n got %q\nwant %q", got, tt.want)
			}
		})
	}
}

// TestTranslationsOfTwoNetworks has two tenants with equal addresses and ports, each behind a
// translator with equal addresses too.
func TestTranslationsOfTwoNetworks(t *testing.T) {
	c := frames.NewViewsIn(10)
	q, r := [2]string{frames.Query(77, "ten.local"), frames.Query(77, "twenty.local")}, [2]string{}
	each := func(f func(i int)) {
		for i := range 2 {
			c.VLAN = uint16(10 + 10*i)
			f(i)
		}
	}
	each(func(i int) { r[i] = frames.Reply(q[i], byte(i)) })
	each(func(i int) { c.UDP(pod, dnsService, q[i]) })
	each(func(i int) { c.UDP(nodeEnd, dnsPod, q[i]) })
	each(func(i int) { c.UDP(dnsPod, nodeEnd, r[i]) })
	each(func(i int) { c.UDP(dnsService, pod, r[i]) })
	each(func(i int) {
		c.Exchange(pod, "10.96.0.10:80", nodeEnd, "10.244.1.7:8080", uint32(7000+100*i), uint32(99+i))
	})
	got := exportertest.Answers(t, &c.Buf, "select string_agg(host || ' ' || dst_ip || ' ' || complete, ', ' order by call_no) from calls",
		"select string_agg(transport || ' ' || pair_method || ' ' || flows, ', ' order by conn_id) from connections")
	want := []string{"ten.local 10.96.0.10 true, twenty.local 10.96.0.10 true, svc 10.96.0.10 true, svc 10.96.0.10 true",
		"udp payload 2, udp payload 2, tcp sequence 2, tcp sequence 2"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

// TestAnswersInAnotherNetwork has a translation of TCP in which each direction has its own VLAN.
func TestAnswersInAnotherNetwork(t *testing.T) {
	c := frames.NewViewsIn(10)
	const ask, answer = "GET /x HTTP/1.1\r\nHost: svc\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	both := func(up bool, flags byte, seq, ack uint32, data string) {
		for i, ends := range [2][2]string{{pod, "10.96.0.10:80"}, {nodeEnd, "10.244.1.7:8080"}} {
			c.VLAN = uint16(10 + i)
			if !up {
				c.VLAN += 100
				ends[0], ends[1] = ends[1], ends[0]
			}
			c.TCP(ends[0], ends[1], flags, seq, ack, 99, data)
		}
	}
	both(true, 2, 7000, 0, "")
	both(false, 0x12, 500, 7001, "")
	both(true, 0x10, 7001, 501, "")
	both(true, 0x18, 7001, 501, ask)
	both(false, 0x18, 501, 7001+uint32(len(ask)), answer)
	got := exportertest.Answers(t, &c.Buf, aboutPairs[:2]...)
	if want := []string{"10.244.0.5 10.96.0.10 true", "sequence 2"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

// TestPairsGiveTheSameBytes makes bundles of repeated questions, some of them translated, with
// different numbers of workers.
func TestPairsGiveTheSameBytes(t *testing.T) {
	c := frames.NewViews()
	for i := range 6000 {
		client, node, q := fmt.Sprintf("10.244.%d.%d:40000", i/200%200, i%200), fmt.Sprintf("10.0.0.1:%d", 20000+i), frames.Query(uint16(i), "svc.local")
		c.UDP(client, dnsService, q)
		c.UDP(node, dnsPod, q)
		if i%3 == 0 { // spoofed
			c.UDP("10.66.0.1:5", dnsPod, q)
		}
		if i%5 != 0 {
			c.UDP(dnsPod, node, frames.Reply(q, 1))
			c.UDP(dnsService, client, frames.Reply(q, byte(1+i%2)))
		}
	}
	path := filepath.Join(t.TempDir(), "a.pcap")
	if err := os.WriteFile(path, c.Buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var first []bundle.Table
	for _, jobs := range []int{1, 2, 7} {
		m, err := exporter.Run(context.Background(), []string{path}, filepath.Join(t.TempDir(), "a.pcapsule"), exporter.Options{Release: "test", Jobs: jobs, Repanic: true})
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = m.Tables
		} else if !reflect.DeepEqual(first, m.Tables) {
			t.Errorf("%d workers make other tables than 1", jobs)
		}
		if a := &m.Accounts; a.PayloadBytes != a.CutBytes+a.RowBytes+a.AnomalyBytes+a.DuplicateBytes {
			t.Errorf("accounts %+v", *a)
		}
	}
}

// TestTranslatedCopiesSeenTwice has each packet of a look-up before and after a translation, and each of
// these twice, in every order in which its questions and its answers can be captured.
func TestTranslatedCopiesSeenTwice(t *testing.T) {
	orders := []string{"QQTT", "QTQT", "QTTQ", "TTQQ", "TQTQ", "TQQT"} // Q and T: before and after the translation
	for _, shape := range []struct {
		name, client, server string
	}{
		{"the server's address changes", "", "10.244.1.7:8053"},
		{"both addresses change", "10.0.0.1", "10.244.1.7:8053"},
		{"the client's address changes", "10.0.0.1", dnsService},
	} {
		t.Run(shape.name, func(t *testing.T) {
			c := frames.NewViews()
			looks := 0
			for _, asked := range orders {
				for _, answered := range orders {
					if asked[0] == answered[0] {
						continue // this is one host that asks two, or two that ask one
					}
					client := fmt.Sprintf("10.244.0.5:%d", 40000+looks)
					other := client
					if shape.client != "" {
						other = fmt.Sprintf("%s:%d", shape.client, 20000+looks)
					}
					q := frames.Query(uint16(500+looks), "svc.local")
					ends := map[byte][2]string{'Q': {client, dnsService}, 'T': {other, shape.server}}
					show := func(order string, back bool, m string) {
						ids := map[byte]uint16{'Q': uint16(1000 + 10*looks), 'T': uint16(30000 + 10*looks)}
						for i := range 4 {
							e := ends[order[i]]
							c.ID = ids[order[i]]
							if back {
								c.ID += 5
								e[0], e[1] = e[1], e[0]
							}
							c.UDP(e[0], e[1], m)
						}
					}
					show(asked, false, q)
					show(answered, true, frames.Reply(q, 1))
					c.Time += 1000
					looks++
				}
			}
			got := exportertest.Answers(t, &c.Buf, "select count(*)::varchar from calls where complete", "select string_agg(a || ' ' || n, ',' order by a, n) from (select src_ip || ':' || src_port as a, count(*) || ' ' || any_value(complete) as n from calls group by 1)")
			if got[0] != fmt.Sprint(looks) {
				t.Errorf("%s calls, want %d\n%v", got[0], looks, got[1])
			}
		})
	}
}
