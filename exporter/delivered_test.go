package exporter

import (
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestDelivered has requests that arrived or did not, and captures that do not show which.
func TestDelivered(t *testing.T) {
	const request, other = "GET /a HTTP/1.1\r\nHost: shop\r\n\r\n", "GET /evil HTTP/1.1\r\nHost: shop\r\n\r\n"
	stale := func(s seg) seg { s.stale = true; return s }
	again := func(ms int64) seg { s := fromClient(ms, ackFlag, request); s.again = true; return s }
	with := func(s ...seg) []seg { return s }
	bare := func(p piece) bool { return p.payload == "" }
	for _, c := range []struct {
		name, want string
		drop       func(piece) bool // packets that the capture lacks
		segs       []seg
	}{
		{"acknowledged and answered", "/a ok yes by 4", nil,
			with(fromClient(0, ackFlag, request), fromServer(1, ackFlag, ""), fromServer(600, ackFlag, slowAnswer))},
		{"acknowledged by the answer", "/a ok yes by 4", nil,
			with(fromClient(0, ackFlag, request), fromServer(600, ackFlag, slowAnswer))},
		{"acknowledged, not answered", "/a no_answer yes by 4", nil,
			with(fromClient(0, ackFlag, request), fromServer(1, ackFlag, ""), fromClient(9000, rstFlag|ackFlag, ""))},
		{"never acknowledged", "/a no_answer no by 1, 3 again 3000000", nil,
			with(fromClient(0, ackFlag, request), again(200), again(1000), again(3000), fromClient(9000, rstFlag|ackFlag, ""))},
		{"acknowledged in part", "/a no_answer no by 5", nil,
			with(fromClient(0, ackFlag, request[:9]), fromClient(0, ackFlag, request[9:]), seg{server: true, ms: 1, flags: ackFlag, partly: 9}, fromClient(9000, rstFlag|ackFlag, ""))},
		{"reset at once, so an acknowledgement may be on its way", "/a no_answer unknown", nil,
			with(fromClient(0, ackFlag, request), fromClient(20, rstFlag|ackFlag, ""))},
		{"the capture ends at once", "/a cut unknown", nil,
			with(fromClient(0, ackFlag, request))},
		{"one direction only", "/a cut unknown", func(p piece) bool { return p.src.Port() == 80 },
			with(fromClient(0, ackFlag, request), fromServer(1, ackFlag, ""), fromClient(9000, rstFlag|ackFlag, ""))},
		{"a capture of payload only", "/a ok yes by 1; /evil cut unknown", bare,
			with(fromClient(0, ackFlag, request), fromServer(1, ackFlag, slowAnswer), fromClient(2, ackFlag, other), fromServer(3, ackFlag, ""), fromClient(9000, finFlag|ackFlag, ""))},
		{"the server's segments have a gap", "/a ok yes by 4; /evil unread unknown", func(p piece) bool { return strings.HasPrefix(p.payload, "HTTP") && p.at > 1e9 },
			with(fromClient(0, ackFlag, request), fromServer(1, ackFlag, slowAnswer), fromClient(2, ackFlag, other), stale(fromServer(2000, ackFlag, slowAnswer)), stale(fromServer(3000, finFlag|ackFlag, "")), fromClient(9000, finFlag|ackFlag, ""))},
		{"an answer that was sent before", "/a ok yes by 4; /evil cut unknown; ? ok", nil,
			with(fromClient(0, ackFlag, request), fromServer(1, ackFlag, slowAnswer), fromClient(20, ackFlag, other), stale(fromServer(30, ackFlag, slowAnswer)))},
		{"the answer to an upload that began: what was sent of it arrived", "/a server_error yes by 4", nil,
			with(fromClient(0, ackFlag, "PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 90\r\n\r\n"), fromServer(1, ackFlag, "HTTP/1.1 507 No\r\nContent-Length: 0\r\n\r\n"))},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := dialogue(c.segs)
			if c.drop != nil {
				d.pieces = slices.DeleteFunc(d.pieces, c.drop)
			}
			data, _ := composed([]*conversation{d})
			path := filepath.Join(t.TempDir(), "a.pcapng")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			rows := answersOf(t, []string{path}, Options{},
				"select string_agg(coalesce(path, '?') || ' ' || outcome || coalesce(' ' || request_delivered, '') || coalesce(' by ' || request_ack, '') || coalesce(', ' || resent_segments || ' again ' || resent_us, ''), '; ' order by path nulls last) from calls")
			if got := strings.Join(rows, ""); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			stray := "0"
			if strings.Contains(c.want, "?") {
				stray = "1"
			}
			if got := strings.Join(answersOf(t, []string{path}, Options{}, "select count(*) from anomalies where kind = 'unreceived_request'"), ""); got != stray {
				t.Errorf("%s anomalies unreceived_request, want %s", got, stray)
			}
		})
	}
}

// TestUnreceivedResponses has responses of which the capture shows whether their receiver acknowledged them.
func TestUnreceivedResponses(t *testing.T) {
	const request, next = "GET /a HTTP/1.1\r\nHost: shop\r\n\r\n", "GET /b HTTP/1.1\r\nHost: shop\r\n\r\n"
	// The client opened with an acknowledgement of its own; later ones acknowledge all that came unless they are stale.
	stale := func(s seg) seg { s.stale = true; return s }
	again := func(ms int64) seg { s := fromServer(ms, ackFlag, slowAnswer); s.again = true; return s }
	for _, c := range []struct {
		name, want string
		drop       func(piece) bool
		segs       []seg
	}{
		{"acknowledged", "yes by 8: 0 of 1", nil, []seg{fromClient(0, ackFlag, request), fromServer(1, ackFlag, slowAnswer), fromClient(2, ackFlag, ""), fromClient(9000, finFlag|ackFlag, "")}},
		{"acknowledged late", "yes by 10, 2 again 1199000: 0 of 1", nil, []seg{fromClient(0, ackFlag, request), fromServer(1, ackFlag, slowAnswer), again(300), again(1200), fromClient(3000, ackFlag, ""), fromClient(9000, finFlag|ackFlag, "")}},
		{"never acknowledged", "no by 2, 3 again 3999000: 1 of 1", nil, []seg{fromClient(0, ackFlag, request), fromServer(1, ackFlag, slowAnswer), again(300), again(1200), again(4000), fromServer(9000, rstFlag|ackFlag, "")}},
		{"the client asks again and acknowledges nothing", "no by 2: 1 of 1", nil, []seg{fromClient(0, ackFlag, request), fromServer(1, ackFlag, slowAnswer), stale(fromClient(3000, ackFlag, "")), fromServer(9000, rstFlag|ackFlag, "")}},
		{"acknowledged by the next request", "yes by 8; yes by 10: 0 of 2", nil, []seg{fromClient(0, ackFlag, request), fromServer(1, ackFlag, slowAnswer), fromClient(2000, ackFlag, next), fromServer(2001, ackFlag, slowAnswer), fromClient(9000, finFlag|ackFlag, "")}},
		{"both sides are silent from then on, which no sender is", "unknown: 0 of 1", nil, []seg{fromClient(0, ackFlag, request), fromServer(1, ackFlag, slowAnswer)}},
		{"a capture of payload only", "unknown: 0 of 1", func(p piece) bool { return p.payload == "" }, []seg{fromClient(0, ackFlag, request), fromServer(1, ackFlag, slowAnswer), again(4000), fromServer(9000, rstFlag|ackFlag, "")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := dialogue(c.segs)
			if c.drop != nil {
				d.pieces = slices.DeleteFunc(d.pieces, c.drop)
			}
			later := dialogue([]seg{fromClient(20000, ackFlag, request)}) // the capture continues
			for i := range later.pieces {
				later.pieces[i].src = netip.MustParseAddrPort("10.1.1.3:40000")
			}
			data, _ := composed([]*conversation{d, later})
			path := filepath.Join(t.TempDir(), "a.pcapng")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			rows := answersOf(t, []string{path}, Options{},
				"select coalesce((select string_agg(response_delivered || ' by ' || response_ack || coalesce(', ' || response_resent_segments || ' again ' || response_resent_us, ''), '; ' order by call_no) from receipts), 'unknown') || ': ' || (select count(*) from anomalies where kind = 'unreceived_response' and exists (select 1 from calls where list_last(cites).last >= packet_no)) || ' of ' || (select count(*) from calls where outcome = 'ok')")
			if got := strings.Join(rows, ""); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// hepMessage is a HEP3 message with bytes of a TCP connection.
func hepMessage(answer bool, payload string) []byte {
	ends, ports := []string{"\x0a\x01\x00\x01", "\x0a\x02\x00\x02"}, []string{"\x9c\x40", "\x00\x50"}
	if answer {
		slices.Reverse(ends)
		slices.Reverse(ports)
	}
	b := []byte("HEP3\x00\x00")
	for _, c := range []struct {
		kind  uint16
		value string
	}{{1, "\x02"}, {2, "\x06"}, {3, ends[0]}, {4, ends[1]}, {7, ports[0]}, {8, ports[1]}, {9, "\x65\x53\xf1\x00"}, {10, "\x00\x00\x00\x01"}, {15, payload}} {
		b = binary.BigEndian.AppendUint32(b, uint32(c.kind))
		b = append(binary.BigEndian.AppendUint16(b, uint16(6+len(c.value))), c.value...)
	}
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	return b
}

// TestDeliveredInHEP has bytes of TCP without its segments: only an answer shows that a request arrived.
func TestDeliveredInHEP(t *testing.T) {
	const head, answer = "GET /a HTTP/1.1\r\nHost: a\r\n", "HTTP/1.1 204 No Content\r\n\r\n"
	for _, c := range []struct {
		name, want string
		messages   [][]byte
	}{
		{"answered", "yes by 1", [][]byte{hepMessage(false, head+"\r\n"), hepMessage(true, answer)}},
		{"answered, in two messages, of which a part may be lost", "unknown", [][]byte{hepMessage(false, head), hepMessage(false, "\r\n"), hepMessage(true, answer)}},
		{"not answered", "unknown", [][]byte{hepMessage(false, head+"\r\n")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			le := binary.LittleEndian
			var out []byte
			for _, v := range []uint32{0xa1b2c3d4, 2 | 4<<16, 0, 0, 262144, 101} {
				out = le.AppendUint32(out, v)
			}
			for i, m := range c.messages {
				udp := binary.BigEndian.AppendUint16([]byte{0x23, 0x64, 0x23, 0x64}, uint16(8+len(m)))
				p := inIPv4(0, 17, append(append(udp, 0, 0), m...))
				for _, v := range []uint32{1_700_000_000, uint32(i+1) * 10000, uint32(len(p)), uint32(len(p))} {
					out = le.AppendUint32(out, v)
				}
				out = append(out, p...)
			}
			path := filepath.Join(t.TempDir(), "a.pcap")
			if err := os.WriteFile(path, out, 0o600); err != nil {
				t.Fatal(err)
			}
			got := strings.Join(answersOf(t, []string{path}, Options{}, "select request_delivered || coalesce(' by ' || request_ack, '') from calls"), "; ")
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
