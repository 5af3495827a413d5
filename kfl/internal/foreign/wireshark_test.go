package foreign_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/internal/duckdbtest"
	"github.com/pcapsule/pcapsule/kfl"
	"github.com/pcapsule/pcapsule/kfl/internal/foreign"
	"github.com/pcapsule/pcapsule/kfl/internal/parse"
)

// known reports whether a word is the name of a field in KFL.
func known(word string) bool {
	return slices.ContainsFunc(kfl.Fields(), func(f kfl.Field) bool { return f.Name == word || slices.Contains(f.Aliases, word) })
}

// TestWiresharkFields compiles the KFL of every field.
func TestWiresharkFields(t *testing.T) {
	k := foreign.Language{IsField: known, Address: parse.QuotedAddress}
	fields, packets := foreign.Fields()
	if n := len(fields); n < 60 {
		t.Errorf("%d fields, want at least 60", n)
	}
	for _, name := range fields {
		if known(name) {
			t.Errorf("%s is a name in KFL, so its row is never used", name)
			continue
		}
		if packets[name] {
			continue // TestPacketHints
		}
		if says := foreign.Says(name); says != "" {
			if hint := hintOf(t, name+" == 1"); hint != says {
				t.Errorf("%s: hint %q, want %q", name, hint, says)
			}
			continue
		}
		var faults []string
		for _, value := range []string{"1", `"x"`, "10.0.0.1", `"2026-01-31T12:00:00Z"`} {
			for _, op := range []string{" == ", " contains "} {
				if _, err := kfl.Compile(k.FromWireshark(name+op+value), kfl.Env{}); err != nil {
					faults = append(faults, err.Error())
				}
			}
		}
		if _, err := kfl.Compile(k.FromWireshark(name), kfl.Env{}); err != nil {
			faults = append(faults, err.Error())
		}
		if len(faults) == 9 {
			t.Errorf("%s: %s", name, strings.Join(faults, "\n"))
		}
	}
}

// TestWiresharkMeaning checks that a hint for a field of one protocol selects no calls of others, and that numbers keep
// their unit: Redis has methods too, and Wireshark has seconds where KFL has microseconds.
func TestWiresharkMeaning(t *testing.T) {
	byName := map[string]kfl.Field{}
	for _, f := range kfl.Fields() {
		for _, name := range append(f.Aliases, f.Name) {
			byName[name] = f
		}
	}
	app := []string{"http.", "http2.", "dns.", "icmp.", "sip.", "ldap.", "smb2.", "websocket.", "tcp.", "udp."}
	fields, _ := foreign.Fields()
	for _, name := range fields {
		to, scope, unit := foreign.Equivalent(name)
		for _, field := range to {
			f, is := byName[field]
			if !is || f.Type == "bool" {
				continue
			}
			if times := f.Unit == "us" || f.Unit == "ms" || f.Unit == "ns"; times != (unit != "") {
				t.Errorf("%s: KFL's %s has the unit %q, but the numbers of Wireshark have %q", name, field, f.Unit, unit)
			}
			shared := len(f.Protocols) == 0 && !strings.HasPrefix(f.Name, "tcp.")
			if shared && scope == "" && slices.ContainsFunc(app, func(p string) bool { return strings.HasPrefix(name, p) }) {
				t.Errorf("%s: other calls have %s too, and nothing excludes them", name, field)
			}
		}
	}
}

// TestWiresharkHints compiles Wireshark filters.
func TestWiresharkHints(t *testing.T) {
	for src, want := range map[string]string{
		`ip.addr == 10.0.0.1`:                           `write (src.ip == "10.0.0.1" || dst.ip == "10.0.0.1")`,
		`ip.addr != 10.0.0.1`:                           `write (src.ip != "10.0.0.1" && dst.ip != "10.0.0.1")`,
		`src.ip == 10.0.0.1`:                            `write src.ip == "10.0.0.1"`,
		`src.ip == 10.0.0.0/8`:                          `write src.ip in "10.0.0.0/8"`,
		`dst.ip == fe80::1`:                             `write dst.ip == "fe80::1"`,
		`http.response.code >= 500`:                     `write http && status_code >= 500`,
		`tcp.port == 80`:                                `write transport == "tcp" && (src.port == 80 || dst.port == 80)`,
		`tcp.port eq 80 and ip.src eq 10.0.0.1`:         `write transport == "tcp" && (src.port == 80 || dst.port == 80) and src.ip == "10.0.0.1"`,
		`http.request.method == "POST" && !tcp.srcport`: `write (http && method == "POST") && !(transport == "tcp" && src.port)`,
		`http.host contains "ip.addr == 1"`:             `write http && host contains "ip.addr == 1"`,
		`http.request.uri matches "^/api"`:              `write http && path.matches("^/api")`,
		`tcp.analysis.retransmission`:                   `write tcp.retransmissions > 0`,
		`tcp.flags.reset == 1 && dns.qry.name == "a.b"`: `write tcp.resets > 0 && dns_questions.* == "a.b"`,
		`ssl.handshake.extensions_server_name == "a.b"`: `write tls.sni == "a.b"`,
		`bootp.option.hostname == "laptop"`:             `write dhcp_hostname == "laptop"`,
		`kafka.topic_name == "orders"`:                  `write kafka_topics.* == "orders"`,
		`smb2.filename contains "pay"`:                  `write smb_file contains "pay"`,
		`icmp.type == 8`:                                `write icmp_type_number == 8`,
		`dns.qry.type == 28`:                            `write dns_question_types.* == "AAAA"`,
		`mqtt.msgtype == 3`:                             `write mqtt_packets.* == "PUBLISH"`,
		`ip.proto == 6`:                                 `write transport == "tcp"`,
		`frame.time >= "2026-11-20 09:24:50"`:           `write timestamp >= timestamp("2026-11-20 09:24:50")`,
		`frame.time_epoch > 1700000000.25`:              `write timestamp > timestamp("2023-11-14T22:13:20.25Z")`,
		`tcp.port in {80 443}`:                          `write transport == "tcp" && (src.port in [80, 443] || dst.port in [80, 443])`,
		`src.port not in {80, 443}&&ip.src==10.0.0.1`:   `write src.port not in [80, 443]&&src.ip == "10.0.0.1"`,
		`ip.addr in {10.0.0.1 10.0.0.2}`:                `write (src.ip in ["10.0.0.1", "10.0.0.2"] || dst.ip in ["10.0.0.1", "10.0.0.2"])`,
		`http.request.method in {"GET" "POST"}`:         `write http && method in ["GET", "POST"]`,
		`tcp.dstport in {80..90}`:                       `write transport == "tcp" && (dst.port >= 80 && dst.port <= 90)`,
		`tcp.dstport in {80 443, 8000..8010}`:           `write transport == "tcp" && (dst.port in [80, 443] || (dst.port >= 8000 && dst.port <= 8010))`,
		`dst_port in {80, 443, 8000..8010}`:             `write (dst_port in [80, 443] || (dst_port >= 8000 && dst_port <= 8010))`,
		`_ws.col.protocol == "HTTP"`:                    `write protocol == "http1"`,
		`_ws.col.protocol == "DNS"`:                     `write protocol == "dns"`,
		`port http`:                                     `write (src.port == 80 || dst.port == 80)`,
		`tcp dst port https`:                            `write (transport == "tcp" && dst.port == 443)`,
		`udp port domain or port ssh`:                   `write (transport in ["udp", "quic"] && (src.port == 53 || dst.port == 53)) or (src.port == 22 || dst.port == 22)`,
		`port 80`:                                       `write (src.port == 80 || dst.port == 80)`,
		`not port 22`:                                   `write not (src.port == 22 || dst.port == 22)`,
		`port 80 or 443`:                                `write (src.port in [80, 443] || dst.port in [80, 443])`,
		`tcp dst port 80`:                               `write (transport == "tcp" && dst.port == 80)`,
		`udp and port 53`:                               `write (transport in ["udp", "quic"] && (src.port == 53 || dst.port == 53))`,
		`portrange 80-90`:                               `write ((src.port >= 80 && src.port <= 90) || (dst.port >= 80 && dst.port <= 90))`,
		`host 10.0.0.1`:                                 `write (src.ip == "10.0.0.1" || dst.ip == "10.0.0.1")`,
		`host fe80::1`:                                  `write (src.ip == "fe80::1" || dst.ip == "fe80::1")`,
		`host example.com`:                              `write (src.name == "example.com" || dst.name == "example.com")`,
		`src 10.0.0.1 and dst host 10.0.0.2`:            `write src.ip == "10.0.0.1" and dst.ip == "10.0.0.2"`,
		`net 10.0.0.0/8`:                                `write (src.ip in "10.0.0.0/8" || dst.ip in "10.0.0.0/8")`,
		`path == "host 10.0.0.1" && port 80`:            `write path == "host 10.0.0.1" && (src.port == 80 || dst.port == 80)`,
		`host contains "x" && port 80`:                  `write host contains "x" && (src.port == 80 || dst.port == 80)`,
		`tcp.flags.reset == 0`:                          `write !(tcp.resets > 0)`,
		`http.time > 0.5`:                               `write http && elapsed_time > 0.5s`,
		`http.time > 1e-3 || dns.time > 2`:              `write (http && elapsed_time > 0.001s) || (dns && elapsed_time > 2s)`,
		`http.host == "a" and http.response.code > 399`: `write http && host == "a" and status_code > 399`,
		`http.host == a.com`:                            `write http && host == "a.com"`,
		`!http.host`:                                    `write !(http && host)`,
		`ip.addr == "a.b" && udp`:                       `write src.ip or dst.ip for ip.addr`,
		`id.orig_h == 10.0.0.1 && id.resp_p == 80`:      `write src.ip == "10.0.0.1" && dst.port == 80`,
		`dns.flags.response == 0`:                       `write dns && !(dns_response)`,
		`frame contains "cmd.exe"`:                      `KFL selects calls: pcapsule ask search-content CASE --text TEXT finds text anywhere in them`,
		`htpp && ip.src == 10.0.0.1`:                    ``, // it has another error
	} {
		_, err := kfl.Compile(src, kfl.Env{})
		var bad *kfl.Error
		if !errors.As(err, &bad) {
			t.Errorf("%s: %v, want an error", src, err)
			continue
		}
		if want == "" {
			if strings.HasPrefix(bad.Hint, "write src.ip") {
				t.Errorf("%s: hint %q, which does not compile", src, bad.Hint)
			}
			continue
		}
		if bad.Hint != want {
			t.Errorf("%s: hint %q, want %q", src, bad.Hint, want)
		}
		query, isQuery := strings.CutPrefix(bad.Hint, "write ")
		if strings.Contains(query, " for ip.addr") {
			isQuery = false
		}
		if _, err := kfl.Compile(query, kfl.Env{}); isQuery && err != nil {
			t.Errorf("%s: its hint does not compile: %v", src, err)
		}
	}
}

// TestPacketHints runs the SQL of the hints for fields that only packets have.
func TestPacketHints(t *testing.T) {
	db := duckdbtest.Open(t)
	const packets = "CREATE TABLE packets AS SELECT i AS packet_no, i + 1 AS frame, 100 * i AS len, 96 AS caplen, 34 * i AS payload, " +
		"CASE WHEN i = 0 THEN 2 ELSE 16 END AS flags, CASE WHEN i < 3 THEN 0 END AS flow_id FROM range(4) t(i)"
	if _, err := db.Exec(packets); err != nil {
		t.Fatal(err)
	}
	const prefix = "KFL selects calls; for packets use SQL: "
	for _, c := range []struct{ src, where string }{
		{"tcp.flags.syn", "flags & 2 <> 0"},
		{"tcp.flags.syn == 1 && tcp.flags.ack == 0", "flags & 2 <> 0 AND NOT (flags & 16 <> 0)"},
		{"!(tcp.flags.syn == 0) and frame.len < 1000", "NOT (NOT (flags & 2 <> 0)) AND len < 1000"},
		{"http && tcp.flags.syn", "flags & 2 <> 0"}, // the rest is not about packets
		{"tcp.flags == 0x02", "flags & 255 = 2"},
		{"tcp.len", "payload > 0"},
		{"udp.length ge 42", "payload + 8 >= 42"},
		{"frame.number == 4", "frame = 4"},
		{"frame.number in {1 2, 4}", "frame IN (1, 2, 4)"},
		{"frame.cap_len != 1", "caplen <> 1"},
		{"arp", "flow_id IS NULL"},
	} {
		hint := hintOf(t, c.src)
		if hint != prefix+"SELECT * FROM packets WHERE "+c.where {
			t.Errorf("%s: hint %q", c.src, hint)
			continue
		}
		n := 0
		if err := db.QueryRow("SELECT count(*) FROM (" + strings.TrimPrefix(hint, prefix) + ")").Scan(&n); err != nil || n == 0 {
			t.Errorf("%s: %d rows, %v", hint, n, err)
		}
	}
	fields, packetsOnly := foreign.Fields()
	for _, name := range fields {
		if packetsOnly[name] && !strings.HasPrefix(hintOf(t, name), "KFL selects calls") {
			t.Errorf("%s: hint %q", name, hintOf(t, name))
		}
	}
	for src, want := range map[string]string{
		"eth.addr == 02:42:ac:11:00:02": foreign.OtherPackets,
		"tcp.seq == 1 && http":          foreign.OtherPackets,
		"tcp[13] & 2 != 0":              foreign.OtherPackets,
		"tcp[tcpflags] & tcp-syn != 0":  foreign.OtherPackets,
		"frame.len == abc":              foreign.OtherPackets,
		"dns.qry.type == 9999":          "write dns_question_types.* for dns.qry.type",
		"htpp && frame.len > 100":       "did you mean http?",
	} {
		if hint := hintOf(t, src); hint != want {
			t.Errorf("%s: hint %q, want %q", src, hint, want)
		}
	}
}

// hintOf returns the hint for an invalid query.
func hintOf(t *testing.T, src string) string {
	t.Helper()
	_, err := kfl.Compile(src, kfl.Env{})
	var bad *kfl.Error
	if !errors.As(err, &bad) {
		t.Fatalf("%s: %v, want an error", src, err)
	}
	return bad.Hint
}
