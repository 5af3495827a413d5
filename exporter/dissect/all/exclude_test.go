package all

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

// TestExcludedProtocolsAreNotReadInsideHTTP: what is not to be read is not read where HTTP carries it either.
func TestExcludedProtocolsAreNotReadInsideHTTP(t *testing.T) {
	post := func(path, kind, body string) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", path, kind, len(body), body)
	}
	ok := func(head, body string) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s", head, len(body), body)
	}
	const query = "\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01"
	for _, tt := range []struct{ protocol, request, response, sign string }{
		{"clickhouse", post("/?query=SELECT+1", "text/plain", ""), ok("X-ClickHouse-Server-Display-Name: db\r\n", "1\n"), "SELECT"},
		{"thrift", post("/calc", "application/x-thrift", "\x80\x01\x00\x01\x00\x00\x00\x03add\x00\x00\x00\x01\x00"), ok("Content-Type: application/x-thrift\r\n", "\x80\x01\x00\x02\x00\x00\x00\x03add\x00\x00\x00\x01\x00"), "add()"},
		{"dns", post("/dns-query", "application/dns-message", query), ok("", ""), "A a"},
	} {
		for _, excluded := range []bool{false, true} {
			list := Protocols(nil)
			for i, p := range list {
				if p.Name == tt.protocol && excluded {
					list[i] = &dissect.Protocol{Name: p.Name, Transports: p.Transports, Row: p.Row, Excluded: true}
				}
			}
			r := dissecttest.Play(t, dissecttest.Options{Protocols: list, Roles: true, End: dissect.EndFin}, dissecttest.Client(tt.request), dissecttest.Server(tt.response))
			var all []string
			for _, e := range r.Emissions {
				all = append(all, e.Row.Base().Summary)
			}
			if got := strings.Contains(strings.Join(all, "\n"), tt.sign); got == excluded {
				t.Errorf("%s, excluded %v: %q", tt.protocol, excluded, all)
			}
		}
	}
}
