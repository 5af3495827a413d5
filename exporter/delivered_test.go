package exporter

import (
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
