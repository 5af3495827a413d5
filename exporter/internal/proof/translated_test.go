package proof_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/exportertest"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/samples/frames"
)

var aboutViews = []string{
	"select string_agg(dst_ip || ' ' || complete, ', ') from calls",
	"select string_agg(dst_ip, ', ' order by flow_id) from flows",
	"select string_agg(pair_method || ' ' || flows, ', ' order by conn_id) from connections",
	"select string_agg(e.ip, ', ') from calls c join endpoints e on e.endpoint_id = c.dst_id",
	"select sum(retransmissions + overlap_conflicts + anomaly_bytes)::varchar from flows",
}

func TestTranslatedConnectionIsOne(t *testing.T) {
	for _, tt := range []struct {
		name                        string
		seenClient, seenServer      string
		calls, flows, pair, servers string
	}{
		{"a service's address becomes a pod's", "10.0.0.5:40000", "10.0.1.7:8080", "10.96.0.10 true", "10.96.0.10, 10.0.1.7", "sequence 2", "10.0.1.7"},
		{"the client is masked too", "10.0.0.1:61000", "10.0.1.7:8080", "10.96.0.10 true", "10.96.0.10, 10.0.1.7", "sequence 2", "10.0.1.7"},
		{"only the client is masked", "192.0.2.1:61000", "10.96.0.10:80", "10.96.0.10 true", "10.96.0.10, 10.96.0.10", "sequence 2", "10.96.0.10"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, stamp := range []uint32{99, 0} {
				c := frames.NewViews()
				c.Exchange("10.0.0.5:40000", "10.96.0.10:80", tt.seenClient, tt.seenServer, 7000, stamp)
				got := exportertest.Answers(t, &c.Buf, aboutViews...)
				want := []string{tt.calls, tt.flows, tt.pair, tt.servers, "0"}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("time stamp %d:\n got %q\nwant %q", stamp, got, want)
				}
			}
		})
	}
}

// TestGreetingWithoutSYNACK has a server that greets first, under its own address, and no SYN-ACK. Only an answer that both
// show proves that the ends are one connection's.
func TestGreetingWithoutSYNACK(t *testing.T) {
	const client, service, pod = "10.0.0.5:40000", "10.96.0.10:21", "10.0.1.7:2121"
	const greeting, ask = "220 ready\r\n", "NOOP\r\n"
	for _, tt := range []struct{ name, answer, want string }{
		{"the same greeting", greeting, "0 10.96.0.10, 0 10.0.1.7"},
		{"another greeting", "220 reads\r\n", "0 10.96.0.10, 1 10.0.1.7"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := frames.NewViews()
			up := func(flags byte, seq, ack uint32, data string) {
				c.TCP(client, service, flags, seq, ack, 99, data)
				c.TCP(client, pod, flags, seq, ack, 99, data)
			}
			up(0x02, 7000, 0, "")
			up(0x10, 7001, 501, "")
			c.TCP(pod, client, 0x18, 501, 7001, 99, greeting)
			c.TCP(service, client, 0x18, 501, 7001, 99, tt.answer)
			up(0x18, 7001, 501+uint32(len(greeting)), ask)
			got := exportertest.Answers(t, &c.Buf, "select string_agg(conn_id || ' ' || dst_ip, ', ' order by flow_id) from flows where dst_payload_bytes > 0")
			if got[0] != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// TestTranslatorsThatRewriteTimeStamps has connections whose time stamps are other ones behind the translation, or none,
// and whose packets were lost at one place or the other. Each has its calls once, and no packet is in doubt.
func TestTranslatorsThatRewriteTimeStamps(t *testing.T) {
	const service, pod, hi, masked = "10.96.0.10:6379", "10.0.1.7:6380", "10.0.0.5:40000", "192.0.2.1:61000"
	const near, far = 1, 2 // where a packet was lost
	type step struct {
		flags    byte
		seq, ack uint32 // from the first numbers
		data     string
		up       bool
	}
	const ask, answer = "*1\r\n$4\r\nPING\r\n", "+PONG\r\n"
	a, b := uint32(len(ask)), uint32(len(answer))
	steps := []step{{0x02, 0, 0, "", true}, {0x12, 0, 1, "", false}, {0x10, 1, 1, "", true}, {0x18, 1, 1, ask, true}, {0x18, 1, 1 + a, answer, false},
		{0x18, 1 + a, 1 + b, ask, true}, {0x18, 1 + b, 1 + 2*a, answer, false}, {0x18, 1 + 2*a, 1 + 2*b, ask, true}, {0x18, 1 + 2*b, 1 + 3*a, answer, false}}
	for name, stampFar := range map[string]func(uint32) uint32{
		"lower ones":  func(x uint32) uint32 { return x - 4000 },
		"higher ones": func(x uint32) uint32 { return x + 4000 },
		"none":        func(uint32) uint32 { return 0 },
	} {
		for lost := 0; lost < 6; lost += nightly.Of(2, 1) {
			for _, place := range []int{near, far} {
				c := frames.NewViews()
				for i, s := range steps {
					stamp := uint32(100_000 + i)
					first, second := uint32(0x5eed0000), uint32(0x7eed0000)
					src, dst, farSrc, farDst := hi, service, masked, pod
					if !s.up {
						first, second, src, dst, farSrc, farDst = second, first, dst, src, farDst, farSrc
					}
					seq, ack := first+s.seq, second+s.ack
					if s.flags == 0x02 {
						ack = 0
					}
					show := []func(){
						func() {
							if lost != i || place != near {
								c.TCP(src, dst, s.flags, seq, ack, stamp, s.data)
							}
						},
						func() {
							if lost != i || place != far {
								c.TCP(farSrc, farDst, s.flags, seq, ack, stampFar(stamp), s.data)
							}
						},
					}
					if !s.up {
						show[0], show[1] = show[1], show[0]
					}
					show[0]()
					show[1]()
				}
				got := exportertest.Answers(t, &c.Buf, "select string_agg(request_bytes || '+' || response_bytes || ' ' || coalesce(error, ''), ', ') from calls",
					"select count(*)::varchar from connections", "select coalesce(string_agg(kind, ', '), '') from anomalies where kind <> 'unfinished_checksums'")
				one := fmt.Sprintf("%d+%d ", a, b)
				want := []string{one + ", " + one + ", " + one, "1", ""}
				if lost == 0 { // without its SYN, the other place's handshake may be a connection of its own
					got, want = got[:1], want[:1]
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("time stamps: %s; packet %d lost at place %d: %q, want %q", name, lost, place, got, want)
				}
			}
		}
	}
}

// TestBulkTransferFromItsMiddle has a transfer that was going on before the capture began, so no answer with payload
// shows that both ends are one connection's for long. Acknowledgements do, if they are the same.
func TestBulkTransferFromItsMiddle(t *testing.T) {
	const client, service, pod = "10.0.0.5:40000", "10.96.0.10:80", "10.0.1.7:8080"
	const ask, answer = "GET /x HTTP/1.1\r\nHost: svc\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for _, tt := range []struct {
		name string
		more uint32 // what the client has sent under the pod's address, in addition
		want []string
	}{
		{"the same acknowledgements", 0, []string{"2", "1"}},
		{"other acknowledgements", 7, []string{"4", "2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := frames.NewViews()
			seq, up := uint32(700_000), uint32(5000)
			for i := range 1500 {
				c.TCP(pod, client, 0x10, seq, up+tt.more, 99, strings.Repeat("x", 100))
				c.TCP(service, client, 0x10, seq, up, 99, strings.Repeat("x", 100))
				if seq += 100; i%2 == 1 {
					c.TCP(client, service, 0x10, up, seq, 99, "")
					c.TCP(client, pod, 0x10, up+tt.more, seq, 99, "")
				}
			}
			for range 2 {
				c.TCP(client, service, 0x18, up, seq, 99, ask)
				c.TCP(client, pod, 0x18, up+tt.more, seq, 99, ask)
				up += uint32(len(ask))
				c.TCP(pod, client, 0x18, seq, up+tt.more, 99, answer)
				c.TCP(service, client, 0x18, seq, up, 99, answer)
				seq += uint32(len(answer))
			}
			got := exportertest.Answers(t, &c.Buf, "select count(*)::varchar from calls where complete", "select count(*)::varchar from connections")
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// TestReusedPortsAreTwoConnections has two connections without time stamps on the same ports;
// the second one is translated to another server.
func TestReusedPortsAreTwoConnections(t *testing.T) {
	c := frames.NewViews()
	c.Exchange("10.0.0.5:40000", "10.96.0.10:80", "10.0.0.1:61000", "10.0.1.7:8080", 7000, 0)
	c.Exchange("10.0.0.5:40000", "10.96.0.10:80", "10.0.0.1:61000", "10.0.1.8:8080", 9000, 0)
	got := exportertest.Answers(t, &c.Buf, "select string_agg(f.dst_ip || ' ' || c.pair_method, ', ' order by f.flow_id) from flows f join connections c using (conn_id)",
		"select count(*)::varchar from calls where complete")
	if want := []string{"10.96.0.10 sequence, 10.0.1.7 sequence, 10.96.0.10 sequence, 10.0.1.8 sequence", "2"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("\n got %q\nwant %q", got, want)
	}
}

func TestScanWithOneSequenceNumberIsManyConnections(t *testing.T) {
	c := frames.NewViews()
	for port := 1; port <= 20; port++ {
		c.TCP("10.0.0.5:40000", fmt.Sprintf("10.0.1.7:%d", port), 0x02, 7000, 0, 0, "")
	}
	if got := exportertest.Answers(t, &c.Buf, "select count(*)::varchar from connections"); got[0] != "20" {
		t.Errorf("%s connections, want 20", got[0])
	}
}

func TestReplayedCaptureIsManyConnections(t *testing.T) {
	for _, stamp := range []uint32{99, 0} {
		c := frames.NewViews()
		for host := 1; host <= 5; host++ { // the same session repeatedly with other addresses
			client, server := fmt.Sprintf("10.0.0.%d:40000", host), fmt.Sprintf("10.0.1.%d:80", host)
			c.TCP(client, server, 0x02, 7000, 0, stamp, "")
			c.TCP(server, client, 0x12, 500, 7001, stamp, "")
			c.TCP(client, server, 0x10, 7001, 501, stamp, "")
		}
		if got := exportertest.Answers(t, &c.Buf, "select count(*)::varchar from connections"); got[0] != "5" {
			t.Errorf("time stamp %d: %s connections, want 5", stamp, got[0])
		}
	}
}

func TestReusedPortsAreNotTheOldView(t *testing.T) {
	c := frames.NewViews()
	c.Exchange("10.0.0.5:40000", "10.96.0.10:80", "10.0.0.5:40000", "10.0.1.7:8080", 7000, 99)
	c.Time += 5_000_000
	c.TCP("10.0.0.5:40000", "10.0.1.7:8080", 0x02, 123456, 0, 500, "") // dialled directly
	got := exportertest.Answers(t, &c.Buf, "select string_agg(dst_ip || ' ' || pair_method, ', ' order by conn_id) from connections")
	if got[0] != "10.96.0.10 sequence, 10.0.1.7 single" {
		t.Errorf("%s", got[0])
	}
}

// TestCopiedSYNTakesNoForeignPayload begins two connections with SYNs that differ only in their
// addresses. The servers choose different numbers, so they are two connections.
func TestCopiedSYNTakesNoForeignPayload(t *testing.T) {
	const ask, answer = "GET /x HTTP/1.1\r\nHost: svc\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for _, tt := range []struct {
		name    string
		answers bool // of the first connection
	}{{"both are answered", true}, {"the copy alone is answered", false}} {
		t.Run(tt.name, func(t *testing.T) {
			c := frames.NewViews()
			const client, one, two = "10.0.0.5:40000", "10.96.0.10:80", "10.96.0.11:80"
			c.TCP(client, one, 0x02, 7000, 0, 99, "")
			c.TCP(client, two, 0x02, 7000, 0, 99, "")
			servers := map[string]uint32{one: 500, two: 900}
			if !tt.answers {
				delete(servers, one)
			}
			for _, server := range []string{two, one} {
				isn, ok := servers[server]
				if !ok {
					continue
				}
				c.TCP(server, client, 0x12, isn, 7001, 88, "")
				c.TCP(client, server, 0x10, 7001, isn+1, 99, "")
				c.TCP(client, server, 0x18, 7001, isn+1, 99, ask)
				c.TCP(server, client, 0x18, isn+1, 7001+uint32(len(ask)), 88, answer)
			}
			got := exportertest.Answers(t, &c.Buf, "select string_agg(dst_ip || ' ' || complete, ', ' order by dst_ip) from calls")
			want := "10.96.0.11 true"
			if tt.answers {
				want = "10.96.0.10 true, " + want
			}
			if got[0] != want {
				t.Errorf("calls %q, want %q", got[0], want)
			}
		})
	}
}
