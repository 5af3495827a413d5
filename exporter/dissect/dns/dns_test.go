package dns

import (
	"strings"
	"testing"

	lib "github.com/miekg/dns"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
)

type chunks = []dissecttest.Chunk

func client(b []byte) dissecttest.Chunk { return dissecttest.Client(string(b)) }
func server(b []byte) dissecttest.Chunk { return dissecttest.Server(string(b)) }

// query is a question that requests recursion.
func query(t testing.TB, id uint16, name string, typ uint16, change ...func(*lib.Msg)) []byte {
	t.Helper()
	m := new(lib.Msg)
	m.SetQuestion(lib.Fqdn(name), typ)
	m.Id = id
	return pack(t, m, change)
}

// answer is the answer to such a question, with records in zone file format.
func answer(t testing.TB, id uint16, name string, typ uint16, records string, change ...func(*lib.Msg)) []byte {
	t.Helper()
	m := new(lib.Msg)
	m.SetQuestion(lib.Fqdn(name), typ)
	m.Id, m.Response, m.RecursionAvailable, m.Compress = id, true, true, true
	for _, line := range strings.Split(records, "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		to := &m.Answer
		switch line[0] {
		case '@':
			to, line = &m.Ns, line[1:]
		case '+':
			to, line = &m.Extra, line[1:]
		}
		rr, err := lib.NewRR(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		*to = append(*to, rr)
	}
	return pack(t, m, change)
}

func pack(t testing.TB, m *lib.Msg, change []func(*lib.Msg)) []byte {
	t.Helper()
	for _, f := range change {
		f(m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// framed prefixes a message with TCP's length word.
func framed(b []byte) []byte { return append([]byte{byte(len(b) >> 8), byte(len(b))}, b...) }

func options(port uint16) dissecttest.Options {
	return dissecttest.Options{Transport: dissect.UDP, ServerPort: port, Protocols: []*dissect.Protocol{Protocol()}, End: dissect.EndCapture, IPVersion: 4}
}

// sketch is the part of a conversation that the table tests compare.
func sketch(r *dissecttest.Result) string {
	var out []string
	for _, row := range r.Rows() {
		h, ok := row.(*Row)
		if !ok {
			out = append(out, "unknown "+row.Base().Transport)
			continue
		}
		s := h.Summary
		if h.Error.OK {
			s += " [" + h.Error.V + "]"
		}
		if h.Complete {
			s += " whole"
		}
		if h.Failed {
			s += " failed"
		}
		if h.Attempt.V > 1 {
			s += " again"
		}
		if len(h.EDNSOptions) > 0 {
			s += " " + strings.Join(h.EDNSOptions, "|")
		}
		out = append(out, s)
	}
	kinds := map[string]bool{}
	for _, a := range r.Anomalies {
		if !kinds[a.Kind] {
			kinds[a.Kind] = true
			out = append(out, "!"+a.Kind)
		}
	}
	return strings.Join(out, "; ")
}

func TestConformance(t *testing.T) {
	dissecttest.Run(t, Protocol(),
		dissecttest.Sample{Name: "address", Rows: 1, Chunks: chunks{
			client(query(t, 7, "api.x.com", lib.TypeA)), server(answer(t, 7, "api.x.com", lib.TypeA, "api.x.com. 30 IN A 10.0.0.9"))}},
		dissecttest.Sample{Name: "two at once", Rows: 2, Chunks: chunks{
			client(query(t, 1, "a.example", lib.TypeA)), client(query(t, 2, "a.example", lib.TypeAAAA)),
			server(answer(t, 2, "a.example", lib.TypeAAAA, "a.example. 30 IN AAAA 2001:db8::1")), server(answer(t, 1, "a.example", lib.TypeA, ""))}},
	)
	stream := Protocol()
	stream.Transports = []dissect.Transport{dissect.TCP}
	dissecttest.Run(t, stream,
		dissecttest.Sample{Name: "stream", Rows: 2, Chunks: chunks{
			client(append(framed(query(t, 1, "a.example", lib.TypeTXT)), framed(query(t, 2, "b.example", lib.TypeMX))...)),
			server(framed(answer(t, 2, "b.example", lib.TypeMX, "b.example. 30 IN MX 10 mail.b.example."))),
			server(framed(answer(t, 1, "a.example", lib.TypeTXT, `a.example. 30 IN TXT "v=spf1 -all"`)))}},
		dissecttest.Sample{Name: "zone transfer", Rows: 1, Chunks: chunks{
			client(framed(query(t, 3, "z.example", lib.TypeAXFR))),
			server(framed(answer(t, 3, "z.example", lib.TypeAXFR, "z.example. 30 IN SOA ns.z.example. h.z.example. 5 1 2 3 4\nz.example. 30 IN NS ns.z.example."))),
			server(framed(answer(t, 3, "z.example", lib.TypeAXFR, "ns.z.example. 30 IN A 192.0.2.1\nz.example. 30 IN SOA ns.z.example. h.z.example. 5 1 2 3 4",
				func(m *lib.Msg) { m.Question = nil })))}},
	)
}

func TestMessages(t *testing.T) {
	q := query(t, 9, "Api.X.com", lib.TypeA)
	a := answer(t, 9, "Api.X.com", lib.TypeA, "Api.X.com. 60 IN CNAME edge.x.net.\nedge.x.net. 20 IN A 10.0.0.9\nedge.x.net. 20 IN A 10.0.0.10")
	cut := func(b []byte, n int) []byte { return b[:n] }
	rcode := func(n int) func(*lib.Msg) { return func(m *lib.Msg) { m.Rcode = n } }
	for _, row := range []struct {
		name   string
		port   uint16
		chunks chunks
		want   string
	}{
		{"an answer with aliases", 53, chunks{client(q), server(a)}, "A Api.X.com → 10.0.0.10 +2 whole"},
		{"on any port", 9999, chunks{client(q), server(a)}, "A Api.X.com → 10.0.0.10 +2 whole"},
		{"no answer", 53, chunks{client(q)}, "A Api.X.com → no response [no_response] failed"},
		{"an answer without question", 53, chunks{server(a)}, "A Api.X.com → 10.0.0.10 +2 [no_request]"},
		{"a name that does not exist", 53, chunks{client(q), server(answer(t, 9, "api.x.com", lib.TypeA, "@x.com. 5 IN SOA a.x.com. b.x.com. 1 2 3 4 5", rcode(3)))},
			"A Api.X.com → NXDOMAIN whole failed"},
		{"no records of that type", 53, chunks{client(q), server(answer(t, 9, "api.x.com", lib.TypeA, ""))}, "A Api.X.com → no records whole"},
		{"an extended rcode", 53, chunks{client(q), server(answer(t, 9, "api.x.com", lib.TypeA, "", func(m *lib.Msg) { m.SetEdns0(1232, true); m.Rcode = 23 }))},
			"A Api.X.com → BADCOOKIE whole failed"},
		{"the answer belongs to the repeated question, not to the first", 53, chunks{client(q), client(q), server(a)},
			"A Api.X.com → 10.0.0.10 +2 whole again; A Api.X.com → no response [no_response] failed"},
		{"each repetition has its own answer", 53, chunks{client(q), client(q), server(a), server(a)},
			"A Api.X.com → 10.0.0.10 +2 whole again; A Api.X.com → 10.0.0.10 +2 whole"},
		{"a second answer has no question", 53, chunks{client(q), server(a), server(a)},
			"A Api.X.com → 10.0.0.10 +2 whole; A Api.X.com → 10.0.0.10 +2 [no_request]"},
		{"a forged answer comes before the right one", 53, chunks{client(q), server(answer(t, 9, "api.x.com", lib.TypeA, "api.x.com. 1 IN A 6.6.6.6")), server(a)},
			"A Api.X.com → 6.6.6.6 whole; A Api.X.com → 10.0.0.10 +2 [no_request]; !second_answer"},
		{"a forged error without question comes before the right answer", 53, chunks{client(q), server(answer(t, 9, "x", lib.TypeA, "", rcode(1), func(m *lib.Msg) { m.Question = nil })), server(a)},
			"A Api.X.com → FORMERR whole failed; A Api.X.com → 10.0.0.10 +2 [no_request]; !second_answer"},
		{"an answer with the same id but another question is rejected", 53, chunks{client(q), server(answer(t, 9, "evil.x.com", lib.TypeA, "evil.x.com. 1 IN A 6.6.6.6"))},
			"A evil.x.com → 6.6.6.6 [no_request]; A Api.X.com → no response [no_response] failed; !other_question"},
		{"an error without question is matched by its id", 53, chunks{client(q), server(answer(t, 9, "x", lib.TypeA, "", rcode(1), func(m *lib.Msg) { m.Question = nil }))},
			"A Api.X.com → FORMERR whole failed"},
		{"the server also sends a question", 53, chunks{client(q), server(query(t, 4, "back.example", lib.TypeNS)), client(answer(t, 4, "back.example", lib.TypeNS, "back.example. 1 IN NS a.example.")), server(a)},
			"NS back.example → a.example whole; A Api.X.com → 10.0.0.10 +2 whole"},
		{"an answer truncated in its records", 53, chunks{client(q), server(cut(a, len(a)-3))}, "A Api.X.com → 10.0.0.9 +1, malformed [malformed]; !malformed"},
		{"a question truncated in its name on the DNS port", 53, chunks{client(cut(q, 16))}, "? → malformed [malformed]; !malformed"},
		{"a question truncated in its name on another port", 9999, chunks{client(cut(q, 16))}, "unknown udp"},
		{"bytes after a message", 53, chunks{client(append(append([]byte{}, q...), 1, 2, 3))}, "A Api.X.com → no response [no_response] failed; !trailing"},
		{"too short for a header", 53, chunks{client(q), client([]byte{1, 2, 3})}, "A Api.X.com → no response [no_response] failed; !malformed"},
		{"other data on the DNS port", 53, chunks{client([]byte(strings.Repeat("\xd7\x31\x9a", 30)))}, "unknown udp"},
		{"a multicast question", 5353, chunks{client(query(t, 0, "_ipp._tcp.local", lib.TypePTR, func(m *lib.Msg) { m.Question[0].Qclass |= 1 << 15 }))},
			"PTR _ipp._tcp.local, to a group whole"},
		{"a multicast announcement", 5353, chunks{client(answer(t, 0, "x", lib.TypeA, "host.local. 120 IN A 192.168.1.5\nhost.local. 120 IN AAAA fe80::1", func(m *lib.Msg) { m.Question = nil }))},
			"A host.local → 192.168.1.5 +1 whole"},
		{"a link-local question", 5355, chunks{client(query(t, 77, "wpad", lib.TypeA))}, "A wpad, to a group whole"},
		{"a dynamic update", 53, chunks{client(query(t, 5, "x.com", lib.TypeSOA, func(m *lib.Msg) {
			m.Opcode = lib.OpcodeUpdate
			rr, _ := lib.NewRR("h.x.com. 60 IN A 10.1.1.1")
			m.Ns = append(m.Ns, rr)
		})), server(answer(t, 5, "x.com", lib.TypeSOA, "", func(m *lib.Msg) { m.Opcode = lib.OpcodeUpdate; m.Rcode = 5 }))},
			"UPDATE SOA x.com → REFUSED whole failed"},
		{"options of both sides", 53, chunks{client(query(t, 6, "a.b", lib.TypeA, func(m *lib.Msg) {
			m.SetEdns0(1232, true)
			o := m.IsEdns0()
			o.Option = append(o.Option, &lib.EDNS0_COOKIE{Code: lib.EDNS0COOKIE, Cookie: "0102030405060708"}, &lib.EDNS0_PADDING{Padding: make([]byte, 7)})
		})), server(answer(t, 6, "a.b", lib.TypeA, "", func(m *lib.Msg) {
			m.SetEdns0(1232, true)
			o := m.IsEdns0()
			o.Option = append(o.Option, &lib.EDNS0_EDE{InfoCode: 15, ExtraText: "policy"}, &lib.EDNS0_LOCAL{Code: 65001, Data: []byte{9}})
		}))}, "A a.b → no records whole cookie=0102030405060708|padding=7|ede=15 Blocked policy|option65001=09"},
	} {
		t.Run(row.name, func(t *testing.T) {
			o := options(row.port)
			o.Multicast = row.port == portMDNS || row.port == portLLMNR
			r := dissecttest.Play(t, o, row.chunks...)
			if got := sketch(r); got != row.want {
				t.Errorf("\n got %s\nwant %s", got, row.want)
			}
		})
	}
}

// TestResolverAsksFromAPortOfMulticast has a resolver whose random port is one of multicast DNS or LLMNR: it asks a
// server, not a group, so a question without answer is one.
func TestResolverAsksFromAPortOfMulticast(t *testing.T) {
	q, a := query(t, 9, "x.com", lib.TypeA), answer(t, 9, "x.com", lib.TypeA, "x.com. 60 IN A 10.0.0.9")
	for _, port := range []uint16{portMDNS, portLLMNR} {
		o := options(portDNS)
		o.ClientPort = port
		for _, row := range []struct {
			chunks chunks
			want   string
		}{
			{chunks{client(q)}, "A x.com → no response [no_response] failed"},
			{chunks{client(q), server(a)}, "A x.com → 10.0.0.9 whole"},
		} {
			r := dissecttest.Play(t, o, row.chunks...)
			if got := sketch(r); got != row.want || r.Rows()[0].(*Row).Variant != "dns" {
				t.Errorf("port %d: %s, variant %s; want %s", port, got, r.Rows()[0].(*Row).Variant, row.want)
			}
		}
	}
}

// TestAnswerText compares the values of many types with their zone file format.
func TestAnswerText(t *testing.T) {
	for _, row := range []struct{ record, want string }{
		{"x. 1 IN A 192.0.2.1", "192.0.2.1"},
		{"x. 1 IN AAAA 2001:db8:0:0::1", "2001:db8::1"},
		{"x. 1 IN CNAME Target.example.", "Target.example"},
		{"x. 1 IN NS .", "."},
		{"x. 1 IN MX 10 mail.example.", "10 mail.example"},
		{"x. 1 IN SRV 0 5 5060 sip.example.", "0 5 5060 sip.example"},
		{"x. 1 IN SOA ns.example. root.example. 2024 1 2 3 4", "ns.example root.example 2024 1 2 3 4"},
		{`x. 1 IN TXT "v=spf1 -all" "b\"c\\"`, `"v=spf1 -all" "b\"c\\"`},
		{`x. 1 IN TXT "a\255b"`, `"a\255b"`},
		{`x. 1 IN TXT "é"`, `"é"`},
		{`x. 1 IN CAA 0 issue "letsencrypt.org"`, `0 issue "letsencrypt.org"`},
		{`x. 1 IN NAPTR 1 2 "u" "E2U+sip" "!^.*$!sip:a@b!" .`, `1 2 "u" "E2U+sip" "!^.*$!sip:a@b!" .`},
		{"x. 1 IN DS 60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118", "60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118"},
		{"x. 1 IN DNSKEY 256 3 5 AQPSKmynfzW4kyBv015MUG2DeIQ3", "256 3 5 AQPSKmynfzW4kyBv015MUG2DeIQ3"},
		{"x. 1 IN RRSIG A 5 3 86400 20030322173103 20030220173103 2642 example. oJB1W6WN", "A 5 3 86400 20030322173103 20030220173103 2642 example. oJB1W6WN"},
		{"x. 1 IN NSEC host.example. A MX RRSIG", "host.example. A MX RRSIG"},
		{"x. 1 IN NSEC3 1 1 12 AABBCCDD 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR A RRSIG", "1 1 12 AABBCCDD 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR A RRSIG"},
		{"x. 1 IN TLSA 3 1 1 0D6FCE3320315023FF499B3F3D6C362BDBC1E9B4D3B0F0C0E8E3D6A3B0A9B1C2", "3 1 1 0d6fce3320315023ff499b3f3d6c362bdbc1e9b4d3b0f0c0e8e3d6a3b0a9b1c2"},
		{"x. 1 IN SSHFP 2 1 123456789ABCDEF67890123456789ABCDEF67890", "2 1 123456789ABCDEF67890123456789ABCDEF67890"},
		{`x. 1 IN HTTPS 1 . alpn="h2,h3" ipv4hint="192.0.2.1"`, `1 . alpn="h2,h3" ipv4hint="192.0.2.1"`},
		{`x. 1 IN SVCB 1 svc.example. port="8443"`, `1 svc.example. port="8443"`},
		{`x. 1 IN URI 10 1 "ftp://x.example/"`, `10 1 "ftp://x.example/"`},
		{"x. 1 IN LOC 42 21 54.000 N 71 06 18.000 W -24.00m 30m 10000m 10m", "42 21 54.000 N 71 06 18.000 W -24m 30m 10000m 10m"},
		{`x. 1 IN HINFO "PC" "Linux"`, `"PC" "Linux"`},
		{`x. 1 IN TYPE65280 \# 3 abcdef`, `\# 3 abcdef`},
		{`x. 1 IN NULL \# 2 0001`, `\# 2 0001`},
	} {
		q, a := query(t, 1, "x", lib.TypeANY), answer(t, 1, "x", lib.TypeANY, row.record)
		r := dissecttest.Play(t, options(53), client(q), server(a))
		got := r.Rows()[0].(*Row)
		if len(got.Answers) != 1 || got.Answers[0] != row.want || len(r.Anomalies) > 0 {
			t.Errorf("%s\n got %q %v\nwant %q", row.record, got.Answers, r.Anomalies, row.want)
		}
	}
}

func TestColumns(t *testing.T) {
	q := query(t, 0xbeef, "Api.X.com", lib.TypeA, func(m *lib.Msg) { m.SetEdns0(4096, true) })
	a := answer(t, 0xbeef, "Api.X.com", lib.TypeA, "Api.X.com. 60 IN CNAME edge.x.net.\nedge.x.net. 20 IN A 10.0.0.9\nother.net. 1 IN A 6.6.6.6\n@x.net. 9 IN NS ns.x.net.\n+ns.x.net. 9 IN A 10.9.9.9",
		func(m *lib.Msg) { m.Authoritative = true })
	row := dissecttest.Play(t, options(53), client(q), server(a)).Rows()[0].(*Row)
	for _, c := range []struct {
		name      string
		got, want any
	}{
		{"host", row.Host.V, "api.x.com"}, {"id", row.ID, int32(0xbeef)}, {"method", row.Method.V, "QUERY"},
		{"status", row.StatusCode.V, int32(0)}, {"status text", row.StatusText.V, "NOERROR"},
		{"questions", strings.Join(row.Questions, " "), "Api.X.com"}, {"types", strings.Join(row.Types, " "), "A"},
		{"class", row.Class.V, "IN"},
		{"answers", strings.Join(row.Answers, " "), "edge.x.net 10.0.0.9 6.6.6.6"},
		{"answer types", strings.Join(row.AnswerTypes, " "), "CNAME A A"},
		{"answer names", strings.Join(row.AnswerNames, " "), "Api.X.com edge.x.net other.net"},
		{"times to live", strings.Join(row.TTLs, " "), "60 20 1"}, {"least", row.MinTTL.V, int64(1)},
		{"authority", strings.Join(row.Authority, "|"), "x.net 9 NS ns.x.net"},
		{"additional", strings.Join(row.Additional, "|"), "ns.x.net 9 A 10.9.9.9"},
		{"counts", []int32{row.AnswerCount.V, row.AuthorityCount.V, row.AdditionalCount.V, row.ResponseParts.V}[3], int32(1)},
		{"flags", strings.Join(row.Flags, " "), "aa rd ra"},
		{"EDNS size", row.EDNSSize.V, int32(4096)},
		{"request length", row.RequestLength.V, int64(len(q))}, {"response length", row.ResponseLength.V, int64(len(a))},
		{"total size", row.TotalSize, int64(len(a) + len(q))},
		{"request and response", row.HasRequest && row.HasResponse, true},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, c.got, c.want)
		}
	}
	// The alias leads to 10.0.0.9; nothing leads to 6.6.6.6.
	if n := row.Names(); len(n) != 1 || n[0].Name != "Api.X.com" || n[0].Addr.String() != "10.0.0.9" {
		t.Errorf("names %v", n)
	}
}
