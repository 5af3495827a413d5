package netbios

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

var client, server = dissecttest.Client, dissecttest.Server

// half is a name in half bytes; kind is the number of its service.
func half(name string, kind byte) string {
	s := ""
	for _, b := range []byte(name + strings.Repeat(" ", 15-len(name)) + string([]byte{kind})) {
		s += string([]byte{'A' + b>>4, 'A' + b&15})
	}
	return " " + s + "\x00"
}

func status(names ...string) string {
	s := string([]byte{byte(len(names))})
	for _, n := range names {
		s += n + strings.Repeat(" ", 15-len(n)) + "\x20\x04\x00"
	}
	s += "\x02\x00\x00\x00\x01\x05" + strings.Repeat("\x00", 40)
	return string([]byte{byte(len(s) >> 8), byte(len(s))}) + s
}

const address = "\x00\x00\x00\x3c\x00\x06\x00\x00\x0a\x01\x02\x03"

var (
	question = half("FILES", 0x20) + "\x00\x20\x00\x01"
	query    = "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + question
	found    = "\x12\x34\x85\x80\x00\x00\x00\x01\x00\x00\x00\x00" + question + address
	unknown  = "\x12\x34\x85\x83\x00\x00\x00\x01\x00\x00\x00\x00" + half("FILES", 0x20) + "\x00\x0a\x00\x01\x00\x00\x00\x00\x00\x00"
	asksAll  = "\x12\x35\x01\x10\x00\x01\x00\x00\x00\x00\x00\x00" + question
	stat     = "\x12\x36\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00" + half("*"+strings.Repeat("\x00", 14), 0) + "\x00\x21\x00\x01"
	stats    = "\x12\x36\x84\x00\x00\x00\x00\x01\x00\x00\x00\x00" + half("*"+strings.Repeat("\x00", 14), 0) + "\x00\x21\x00\x01\x00\x00\x00\x00" + status("FILES", "SHOP")
	register = "\x12\x37\x29\x10\x00\x01\x00\x00\x00\x00\x00\x01" + question + "\xc0\x0c\x00\x20\x00\x01" + address
	wack     = "\x12\x38\xbc\x00\x00\x00\x00\x01\x00\x00\x00\x00" + half("FILES", 0x20) + "\x00\x0a\x00\x01\x00\x00\x00\x05\x00\x00"
	conflict = "\x12\x38\xad\x86\x00\x00\x00\x01\x00\x00\x00\x00" + question + address
	datagram = "\x11\x0a\x00\x07\x0a\x01\x02\x03\x00\x8a\x00\x67\x00\x00" + half("FILES", 0) + half("SHOP", 0x1d) + "\xffSMB%\x00\x00" + "\x00" + `\MAILSLOT\BROWSE` + "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a"
)

var samples = []dissecttest.Sample{{Name: "names and a datagram", Rows: 6, Chunks: chunks{client(query), server(found), client(query), server(unknown), client(asksAll), client(stat), server(stats), client(register), client(datagram)}}}

func TestSuite(t *testing.T) { dissecttest.Run(t, Protocol(), samples...) }

func FuzzConversation(f *testing.F) { dissecttest.Fuzz(f, Protocol(), samples...) }

func TestRows(t *testing.T) {
	columns := []string{"host", "status_code", "netbios_source", "netbios_transaction", "netbios_broadcast", "netbios_addresses", "netbios_names", "netbios_mac", "netbios_ttl", "netbios_mailslot"}
	claims := strings.Replace(register, "\x12\x37\x29\x10", "\x12\x38\x29\x00", 1)
	dissecttest.Converse(t, Protocol(), columns, []dissecttest.Conversation{
		{Name: "names and a datagram", Chunks: samples[0].Chunks, Want: []string{
			"NAME QUERY FILES<20> → 10.1.2.3 host=FILES status_code=0 netbios_transaction=4660 netbios_addresses=[10.1.2.3] netbios_ttl=60",
			"NAME QUERY FILES<20> → NAM_ERR outcome=client_error host=FILES status_code=3 netbios_transaction=4660",
			"NAME QUERY FILES<20> host=FILES netbios_transaction=4661 netbios_broadcast=true",
			"NODE STATUS *<00> → 2 names host=* status_code=0 netbios_transaction=4662 netbios_names=[FILES<20> SHOP<20>] netbios_mac=02:00:00:00:01:05",
			"REGISTRATION FILES<20> → 10.1.2.3 host=FILES netbios_transaction=4663 netbios_broadcast=true netbios_addresses=[10.1.2.3] netbios_ttl=60",
			`DIRECT_GROUP FILES<00> to SHOP<1d>, \MAILSLOT\BROWSE netbios_source=FILES<00> netbios_transaction=7 netbios_mailslot=\MAILSLOT\BROWSE`}},
		{Name: "the server needs time, and refuses", Chunks: chunks{client(claims), server(wack), server(conflict)}, Want: []string{
			"REGISTRATION FILES<20> → ACT_ERR outcome=refused host=FILES status_code=6 netbios_transaction=4664 netbios_addresses=[10.1.2.3] netbios_ttl=60"}},
		{Name: "the answer to a broadcast, from another host", Chunks: chunks{client(found)}, Want: []string{
			"NAME QUERY FILES<20> → 10.1.2.3 error=no_request outcome=cut host=FILES status_code=0 netbios_transaction=4660 netbios_addresses=[10.1.2.3] netbios_ttl=60"}},
		{Name: "nobody answers", Chunks: chunks{client(query)}, End: dissect.EndTimeout, Want: []string{
			"NAME QUERY FILES<20> → no_response error=no_response outcome=no_answer host=FILES netbios_transaction=4660"}},
	}...)
}

func TestDetect(t *testing.T) {
	dissecttest.Detect(t, detect, dissecttest.Heads{
		{"a query", dissect.ToServer, query, dissect.Yes},
		{"a status", dissect.ToClient, stats, dissect.Yes},
		{"a datagram", dissect.ToServer, datagram, dissect.Yes},
		{"a query that is cut", dissect.ToServer, query[:40], dissect.No},
		{"bytes after the message", dissect.ToServer, query + "\x00", dissect.No},
		{"a query of DNS", dissect.ToServer, "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x05files\x00\x00\x21\x00\x01", dissect.No},
		{"another letter in the name", dissect.ToServer, strings.Replace(query, "E", "Z", 1), dissect.No},
	})
}
