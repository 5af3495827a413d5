package exporter

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/samples/frames"
)

// Ends of connections and of their views.
const (
	pod, dnsService, dnsPod, nodeEnd = "10.244.0.5:40000", "10.96.0.10:53", "10.244.1.7:8053", "10.0.0.1:61000"
)

// fileOf writes the capture to a file. Its clock is ahead by a number of µs.
func fileOf(test *testing.T, t *frames.Views, name string, ahead uint32) string {
	test.Helper()
	le, data := binary.LittleEndian, bytes.Clone(t.Buf.Bytes())
	for at := 24; at < len(data); at += 16 + int(le.Uint32(data[at+8:])) {
		us := le.Uint32(data[at+4:]) + ahead
		le.PutUint32(data[at:], le.Uint32(data[at:])+us/1e6)
		le.PutUint32(data[at+4:], us%1e6)
	}
	path := filepath.Join(test.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		test.Fatal(err)
	}
	return path
}

// TestPortsOfSettledConversation has a translated connection on the ports of an earlier one, which was not translated
// and had so many messages that the search for its views had ended.
func TestPortsOfSettledConversation(t *testing.T) {
	const service, server = "10.96.0.10:80", "10.244.1.7:8080"
	const ask, answer = "GET /old HTTP/1.1\r\nHost: svc\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"
	c := frames.NewViews()
	up, down := uint32(4001), uint32(9001)
	c.TCP(pod, service, 2, up-1, 0, 0, "")
	c.TCP(service, pod, 0x12, down-1, up, 0, "")
	for i := range 40 {
		path := strings.Replace(ask, "old", fmt.Sprintf("%03d", i), 1)
		c.TCP(pod, service, 0x18, up, down, 0, path)
		up += uint32(len(path))
		c.TCP(service, pod, 0x18, down, up, 0, answer)
		down += uint32(len(answer))
	}
	c.TCP(pod, service, 0x11, up, down, 0, "")
	c.TCP(service, pod, 0x11, down, up+1, 0, "")
	c.Exchange(pod, service, pod, server, 3_111_222_333, 0)
	got := answers(t, c, "select count(*) || ' calls, ' || count(distinct conn_id) || ' connections' from calls")
	if want := "41 calls, 2 connections"; got[0] != want {
		t.Errorf("%s, want %s", got[0], want)
	}
}

// TestTranslatedConnectionUnderTwoClocks has a connection before and after a translation, in two files.
// Their clocks differ by more than the connection lasts.
func TestTranslatedConnectionUnderTwoClocks(t *testing.T) {
	const service, server = "10.96.0.10:80", "10.244.1.7:8080"
	const ask, answer = "GET /x HTTP/1.1\r\nHost: svc\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	both := func(want string) [2]string { return [2]string{want, want} }
	const random, constant = 3_111_222_333, 7000
	for _, tt := range []struct {
		name    string
		client  string // as the second file shows it
		isn     uint32
		ask     string    // in the second file
		without string    // what the second file does not have
		want    [2]string // with the clock of the second file ahead, and behind
		far     [2]string // the same if the difference is 20 s
	}{
		{"the server's address changes", pod, constant, ask, "", both("3 calls"), both("6 calls")},
		{"both ends change, and the numbers are random", nodeEnd, random, ask, "", both("3 calls"), both("3 calls")},
		{"both ends change, and the numbers are those of a generator", nodeEnd, constant, ask, "", both("6 calls"), both("6 calls")},
		{"another request with the same numbers", pod, random, strings.Replace(ask, "/x", "/y", 1), "", both("6 calls"), both("6 calls")},
		{"the second file lacks the SYN", pod, random, ask, "SYN", both("3 calls"), both("3 calls")},
		{"the second file lacks the SYN-ACK", pod, random, ask, "SYN-ACK", both("3 calls"), both("6 calls")},
		{"the second file lacks the first request", pod, random, ask, "request 0", [2]string{"3 calls", "5 calls"}, [2]string{"3 calls", "5 calls"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, stamp := range nightly.Some([]uint32{99, 0}, 1) {
				near, far := frames.NewViews(), frames.NewViews()
				exchange := func(c *frames.Views, client, server, ask, without string) {
					show := func(what, src, dst string, flags byte, seq, ack uint32, payload string) {
						if what != without {
							c.TCP(src, dst, flags, seq, ack, stamp, payload)
						}
					}
					up, down := tt.isn+1, tt.isn/2
					show("SYN", client, server, 2, tt.isn, 0, "")
					show("SYN-ACK", server, client, 0x12, down-1, up, "")
					show("ACK", client, server, 0x10, up, down, "")
					for _, what := range []string{"request 0", "request 1", "request 2"} {
						show(what, client, server, 0x18, up, down, ask)
						up += uint32(len(ask))
						show("response", server, client, 0x18, down, up, answer)
						down += uint32(len(answer))
					}
				}
				exchange(near, pod, service, ask, "")
				exchange(far, tt.client, server, tt.ask, tt.without)
				for _, c := range []*frames.Views{near, far} { // they overlap, so that neither continues the other
					c.Time += 30_000_000
					c.TCP("10.9.9.9:9", "10.9.9.8:9", 2, 1, 0, 0, "")
				}
				want := append(tt.want[:], tt.far[:]...)
				for i, ahead := range [][2]uint32{{0, 400_000}, {400_000, 0}, {0, 20_000_000}, {20_000_000, 0}} {
					files := []string{fileOf(t, near, "near.pcap", ahead[0]), fileOf(t, far, "far.pcap", ahead[1])}
					got := answersOf(t, files, Options{Release: "test", Repanic: true}, "select count(*) || ' calls' from calls where complete")
					if got[0] != want[i] {
						t.Errorf("time stamp %d, clocks ahead by %v: %s, want %s", stamp, ahead, got[0], want[i])
					}
				}
			}
		})
	}
}

// TestDatagramsUnderTwoClocks has questions before and after a translation on one machine, and after it on another one, whose
// clock is 3 s ahead or behind. Answers have no IP identification, as those of most servers.
func TestDatagramsUnderTwoClocks(t *testing.T) {
	for _, tt := range []struct {
		name string
		id   uint16 // is added to the identifications that the other machine shows
		want string // calls, complete ones, connections
	}{
		{"equal identifications", 0, "5 5 1"},
		{"other identifications", 1000, "10 10 1"},
	} {
		for _, server := range []string{dnsService, dnsPod} {
			for _, ahead := range [][2]uint32{{0, 3_000_000}, {3_000_000, 0}} {
				t.Run(fmt.Sprint(tt.name, ", ", server, ", ", ahead), func(t *testing.T) {
					near, far := frames.NewViews(), frames.NewViews()
					for i := range uint16(5) {
						q := frames.Query(i, "svc.local")
						near.ID, far.ID = 100+i, 100+i+tt.id
						near.UDP(pod, dnsService, q)
						if near.ID--; server != dnsService {
							near.UDP(pod, server, q)
						}
						far.UDP(pod, server, q)
						near.ID, far.ID = 0xffff, 0xffff
						far.UDP(server, pod, frames.Reply(q, 1))
						near.UDP(server, pod, frames.Reply(q, 1))
						if near.ID = 0xffff; server != dnsService {
							near.UDP(dnsService, pod, frames.Reply(q, 1))
						}
						near.Time, far.Time = near.Time+10_000, far.Time+10_000
					}
					files := []string{fileOf(t, near, "near.pcap", ahead[0]), fileOf(t, far, "far.pcap", ahead[1])}
					got := answersOf(t, files, Options{Release: "test", Repanic: true}, "select count(*) || ' ' || count(*) filter (complete) || ' ' || count(distinct conn_id) from calls")
					want := tt.want
					if server != dnsService && ahead[0] > 0 { // LIMIT: what shows the translation comes too late
						want = "10 10 2"
					}
					if got[0] != want {
						t.Errorf("got %s calls, complete ones and connections, want %s", got[0], want)
					}
				})
			}
		}
	}
}

// TestCopiesUnderTwoClocks has each sample together with a copy of another clock, 2 s or 20 s away: over UDP and ICMP, no
// call is added without a mark.
func TestCopiesUnderTwoClocks(t *testing.T) {
	everySample(t, func(t *testing.T, list []aPacket) {
		key := func(c *someCall) string {
			b := c.row.Base()
			summary, _, _ := strings.Cut(b.Summary, ", offset") // by another clock
			return fmt.Sprint(b.Protocol, " ", b.SrcIP, ":", b.SrcPort, " ", summary, " ", b.Outcome, " ", b.RequestBytes, "/", b.ResponseBytes)
		}
		one, known := aPcap(binary.LittleEndian, 1, list), map[string]int{}
		for _, c := range readCalls(t, one, 0, 0) {
			known[key(c)]++
		}
		for _, ahead := range []int64{2e9, -20e9} {
			far := slices.Clone(list)
			for i := range far {
				far[i].at += ahead
			}
			left := maps.Clone(known)
			for _, c := range readTogether(t, func(no int64) int64 { return no }, one, aPcap(binary.LittleEndian, 1, far)) {
				if b := c.row.Base(); b.Transport == "tcp" || b.Anomalies > 0 || b.Outcome == table.Cut || b.Outcome == table.Unread {
					continue
				}
				if left[key(c)]--; left[key(c)] == -1 {
					t.Errorf("ahead by %d s: a second %s", ahead/1e9, key(c))
				}
			}
		}
	})
}
