package indicator

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// of reads a text as a file.
func of(t testing.TB, text string) *Set {
	t.Helper()
	s := newSet()
	if err := s.add("list", strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	s.finish()
	return s
}

// all lists the indicators of a set as kind and value, and what was left out.
func all(s *Set) (list []string) {
	for _, i := range listed(s) {
		at := fmt.Sprintf("%d %s %s", i.Line, i.Kind, i.Value)
		if i.Port != 0 {
			at += fmt.Sprintf(" port %d", i.Port)
		}
		if i.Name != "" {
			at += " (" + i.Name + ")"
		}
		if i.Feed != "" {
			at += " of " + i.Feed
		}
		list = append(list, at)
	}
	for _, f := range s.Sources {
		for _, k := range f.Skipped {
			list = append(list, fmt.Sprintf("%d left out: %d %s", k.Line, k.Count, k.Reason))
		}
	}
	slices.Sort(list)
	return list
}

// listed lists the indicators of a set.
func listed(s *Set) (list []Indicator) {
	for i := range s.entries {
		key := s.key(&s.entries[i])
		text := string(key[1:])
		if key[0] == addresses {
			a := netip.AddrFrom16([16]byte(key[1:17])).Unmap()
			text = written(netip.PrefixFrom(a, int(key[17])-128+a.BitLen()))
		}
		for _, x := range s.get(key, text, nil) {
			if x.No == i {
				list = append(list, x)
			}
		}
	}
	return list
}

const (
	md5Text    = "0123456789abcdef0123456789abcdef"
	sha1Text   = "0123456789abcdef0123456789abcdef01234567"
	sha256Text = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// TestForms reads every kind of file.
func TestForms(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"a plain list", "# bad\n203.0.113.5\n\n198.51.100.0/24 ; a network\n2001:DB8::1\nEvil.Example.\n*.wild.example\n", "2 address 203.0.113.5|4 address 198.51.100.0/24 (a network)|5 address 2001:db8::1|6 domain evil.example|7 domain wild.example"},
		{"forms that cannot be clicked", "hxxps://Evil[.]example/Path?q=1#x\n203[.]0[.]113[.]9\nbad(dot)example\nmallory[@]evil[.]example\n", "1 url evil.example/Path?q=1|2 address 203.0.113.9|3 domain bad.example|4 email mallory@evil.example"},
		{"ports", "203.0.113.5:8080\n[2001:db8::1]:443\nevil.example:8443\n", "1 address 203.0.113.5 port 8080|2 address 2001:db8::1 port 443|3 domain evil.example port 8443"},
		{"hashes and fingerprints", md5Text + "\n" + sha1Text + "\n" + strings.ToUpper(sha256Text) + "\nja3:" + md5Text + "\nt13d1516h2_8daaf6152771_e5627efa2ab1\n", "1 hash " + md5Text + "|2 hash " + sha1Text + "|3 hash " + sha256Text + "|4 ja3 " + md5Text + "|5 ja4 t13d1516h2_8daaf6152771_e5627efa2ab1"},
		{"a user agent", "user-agent: Mozilla/4.0 (compatible; MSIE 6.0)\n", "1 user-agent Mozilla/4.0 (compatible; MSIE 6.0)"},
		{"a hosts file", "127.0.0.1 localhost\n0.0.0.0 a.example b.example # ads\n", "2 domain a.example|2 domain b.example"},
		{"what means nothing outside", "10.0.0.1\n::1\n224.0.0.5\n100.64.1.1\n0.0.0.0/0\n192.168.0.0/16\nco.uk\nhttp://127.0.0.1/x\n", "1 left out: 6 private, local or multicast address|5 left out: 1 network that is too wide to mean anything|7 left out: 1 suffix under which anybody can register a domain"},
		{"an international name", "bücher.example\n", "1 domain xn--bcher-kva.example"},
		{"ThreatFox", "# \"first_seen_utc\",\"ioc_id\",\"ioc_value\",\"ioc_type\",\"malware_printable\"\n\"2026-01-01 10:00:00\", \"1\", \"203.0.113.5:4444\", \"ip:port\", \"Cobalt, Strike\"\n\"2026-01-01 10:00:00\", \"2\", \"evil.example\", \"domain\", \"X\"\n", "2 address 203.0.113.5 port 4444 (Cobalt, Strike)|3 domain evil.example (X)"},
		{"certificates of SSLBL", "# Listingdate,SHA1,Listingreason\n2026-01-01 10:00:00," + sha1Text + ",Dridex C&C\n", "2 hash " + sha1Text + " (Dridex C&C)"},
		{"OTX", "Indicator type,Indicator,Description\nFileHash-SHA256," + sha256Text + ",dropper\nCVE,CVE-2020-1472,\n", "2 file " + sha256Text + " (dropper)|3 left out: 1 of a type that is not supported"},
		{"several columns", "domain,ip,sha256\nevil.example,203.0.113.5,\n,," + sha256Text + "\n", "2 address 203.0.113.5|2 domain evil.example|3 hash " + sha256Text},
		{"Zeek", "#fields\tindicator\tindicator_type\tmeta.source\tmeta.desc\n203.0.113.5\tIntel::ADDR\tx\tbad host\nevil.example/a?b\tIntel::URL\tx\t-\n", "2 address 203.0.113.5 (bad host)|3 url evil.example/a?b"},
		{"STIX", `{"type":"bundle","objects":[
{"type":"indicator","pattern":"[ipv4-addr:value = '203.0.113.5']","pattern_type":"stix","valid_from":"2026-01-01T00:00:00Z","name":"C2","created_by_ref":"identity--1"},
{"type":"malware","name":"x"},
{"type":"indicator","pattern":"[domain-name:value = 'evil.example' OR url:value = 'http://evil.example/a'] OR [file:hashes.'SHA-256' = '` + sha256Text + `' AND file:name = 'a.exe']"},
{"type":"indicator","pattern":"[ipv4-addr:value = '203.0.113.6' AND domain-name:value = 'b.example']"},
{"type":"indicator","pattern":"[network-traffic:dst_ref.value = '203.0.113.7' AND network-traffic:dst_port = 443]"},
{"type":"indicator","pattern":"[domain-name:value LIKE '%.example']"},
{"type":"indicator","pattern":"[ipv4-addr:value ISSUBSET '198.51.100.0/24']"},
{"type":"indicator","pattern":"[email-addr:value IN ('a@b.example', 'c@b.example')]"},
{"type":"indicator","revoked":true,"pattern":"[ipv4-addr:value = '203.0.113.8']"},
{"type":"indicator","pattern_type":"yara","pattern":"rule x {}"},
{"type":"identity","id":"identity--1","name":"CERT"}]}`,
			"10 left out: 1 revoked or deleted|7 left out: 2 of a type that is not supported|2 address 203.0.113.5 (C2) of CERT|4 domain evil.example|4 file " + sha256Text + "|4 url evil.example/a|5 left out: 1 pattern that needs more than one value of a packet|6 address 203.0.113.7 port 443|8 address 198.51.100.0/24|9 email a@b.example|9 email c@b.example"},
		{"MISP", `{"response":[{"Event":{"info":"Campaign","Orgc":{"name":"CIRCL"},"Attribute":[
{"type":"ip-dst","value":"203.0.113.5","to_ids":true,"comment":"C2"},
{"type":"domain|ip","value":"evil.example|203.0.113.6","to_ids":"1"},
{"type":"ip-dst|port","value":"203.0.113.7|8443","to_ids":true},
{"type":"filename|sha256","value":"a.exe|` + sha256Text + `","to_ids":true},
{"type":"ip-dst","value":"203.0.113.8","to_ids":false}],
"Object":[{"name":"file","Attribute":[{"type":"md5","value":"` + md5Text + `","to_ids":true}]}]}}]}`,
			"2 address 203.0.113.5 (Campaign: C2) of CIRCL|3 address 203.0.113.6 (Campaign) of CIRCL|3 domain evil.example (Campaign) of CIRCL|4 address 203.0.113.7 port 8443 (Campaign) of CIRCL|5 file " + sha256Text + " (Campaign) of CIRCL|5 left out: 1 of a type that is not supported|6 left out: 1 not meant for detection (to_ids)|7 file " + md5Text + " (Campaign) of CIRCL"},
		{"an empty list", "# nothing today\n", ""},
		{"a byte order mark", "\xef\xbb\xbfevil.example\r\n", "1 domain evil.example"},
		{"an IPv6 address in brackets is not JSON", "[2001:db8::1]:443\n", "1 address 2001:db8::1 port 443"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := strings.Split(tt.want, "|")
			if tt.want == "" {
				want = nil
			} else { // | is also part of types
				slices.Sort(want)
			}
			if got := all(of(t, tt.text)); !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

// TestDamagedFilesNameTheLine of the first mistake.
func TestDamagedFilesNameTheLine(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"a line that is no indicator", "evil.example\n\nnot an indicator\n", `line 3: "not an indicator" is not an address, network,`},
		{"a wrong address in a table", "ip,comment\n203.0.113.5,a\n203.0.113.555,b\n", `line 3: "203.0.113.555" is not an address`},
		{"a hash that is too short", "type,value\nmd5,abc\n", "line 2: \"abc\" is not a hash of 32 (MD5)"},
		{"a quote that is missing", "indicator,type\nevil.example,domain\n\"evil.example,domain\n", "line 3: \"evil.example,domain\" is not"},
		{"an empty cell", "indicator,type\n,domain\n", "line 2: column 1, which has the indicator, is empty"},
		{"a time", "indicator,valid_until\nevil.example,tomorrow\n", `line 2: "tomorrow" is not a time`},
		{"binary data", "evil.example\n\x00\x01\n", "line 2: the line is not text"},
		{"a long line", "evil.example\n" + strings.Repeat("a", 70_000), "line 2: the line has more than 65536 bytes"},
		{"UTF-16", "\xff\xfee\x00", "line 1: the text is UTF-16"},
		{"compressed", "\x1f\x8b\x08", "the file is compressed"},
		{"JSON that ends", "{\"objects\": [\n{\"type\": \"indicator\",\n", "line 3: the file ends within a JSON value"},
		{"JSON with a mistake", "{\"objects\": [\n{\"type\": \"identity\"},\n{\"type\": oops}\n]}", "line 3: invalid character 'o'"},
		{"a pattern", "{\"objects\": [\n{\"type\": \"identity\"},\n\n{\"type\": \"indicator\", \"pattern\": \"[ipv4-addr:value = ]\"}\n]}", "line 4: pattern: expected a value, found \"]\""},
		{"an address in a pattern", "{\"objects\": [\n{\"type\": \"indicator\", \"pattern\": \"[ipv4-addr:value = 'x']\"}\n]}", "line 2: \"x\" is not an address"},
		{"a value of MISP", "{\"Event\": {\"Attribute\": [\n{\"type\": \"md5\", \"value\": \"1\", \"to_ids\": true}]}}", "line 2: \"1\" is not a hash"},
		{"JSON of something else", "{\"a\": 1}", "this JSON is neither a STIX 2.1 bundle"},
		{"two documents", "{\"objects\": []}\n{}", "more than one JSON value"},
		{"deep JSON", strings.Repeat(`{"Event":`, 100), "line 1: more than 64 objects"},
		{"deep patterns", `{"objects": [{"type": "indicator", "pattern": "` + strings.Repeat("(", 100) + `"}]}`, "line 1: pattern: more than 32 parentheses"},
		{"a long pattern", `{"objects": [{"type": "indicator", "pattern": "` + strings.Repeat("(", 100_000) + `"}]}`, "pattern: more than 65536 bytes"},
		{"a large object", `{"objects": [{"type": "` + strings.Repeat("a", 17<<20) + `"}]}`, "line 1: an object has more than 16777216 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := newSet().add("list", strings.NewReader(tt.text))
			var bad *Error
			if err == nil || !errors.As(err, &bad) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want … %s", err, tt.want)
			}
		})
	}
}

// TestWhatMatches compares values of traffic with indicators.
func TestWhatMatches(t *testing.T) {
	s := of(t, strings.Join([]string{"203.0.113.5", "203.0.113.0/24", "2001:db8::/32", "evil.example", "http://evil.example/a%7Eb?x=1", "https://evil.example:443/c", "http://203.0.113.5:8080/d", "mallory@evil.example", md5Text, "ja3:" + sha256Text[5:37], "user-agent:Bad/1.0"}, "\n"))
	for _, tt := range []struct {
		name string
		got  []Indicator
		want string
	}{
		{"an address and its network", s.Address(netip.MustParseAddr("203.0.113.5")), "1 2"},
		{"an address in the network", s.Address(netip.MustParseAddr("203.0.113.6")), "2"},
		{"an address as IPv6", s.Address(netip.MustParseAddr("::ffff:203.0.113.6")), "2"},
		{"an IPv6 address", s.Address(netip.MustParseAddr("2001:db8:1::1")), "3"},
		{"an address outside", s.Address(netip.MustParseAddr("203.0.114.6")), ""},
		{"the domain", s.Domain("Evil.Example."), "4"},
		{"a name below it", s.Domain("a.b.evil.example"), "4"},
		{"a name that ends alike", s.Domain("notevil.example"), ""},
		{"the domain above", s.Domain("example"), ""},
		{"a URL in another form", s.URL("EVIL.example:80", "/a~b", "x=1"), "5"},
		{"another query", s.URL("evil.example", "/a~b", "x=2"), ""},
		{"a URL without query matches any", s.URL("evil.example", "/c", "x=2"), "6"},
		{"a URL with a port", s.URL("203.0.113.5:8080", "/d", ""), "7"},
		{"another port", s.URL("203.0.113.5", "/d", ""), ""},
		{"a mail header", s.Mail(`"Mallory" <Mallory@evil.example>, x@y.example`), "8"},
		{"a file by MD5", s.Other(File, strings.ToUpper(md5Text)), "9"},
		{"any fingerprint of this length", s.Other(HASSH, md5Text), "9"},
		{"a JA3 is no file", s.Other(File, sha256Text[5:37]), ""},
		{"a JA3", s.Other(JA3, sha256Text[5:37]), "10"},
		{"a user agent", s.Other(UserAgent, "Bad/1.0"), "11"},
		{"a hash is no user agent", s.Other(UserAgent, md5Text), ""},
	} {
		var lines []string
		for _, i := range tt.got {
			lines = append(lines, fmt.Sprint(i.Line))
		}
		if got := strings.Join(lines, " "); got != tt.want {
			t.Errorf("%s: lines %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestValidity is from a moment on, and before another.
func TestValidity(t *testing.T) {
	s := of(t, "indicator,valid_from,valid_until\nevil.example,2026-01-01T00:00:00Z,2026-02-01\nnever.example,2026-02-01,2026-01-01\n")
	i := s.Domain("evil.example")[0]
	for at, want := range map[string]bool{"2025-12-31T23:59:59Z": false, "2026-01-01T00:00:00Z": true, "2026-01-31T23:59:59Z": true, "2026-02-01T00:00:00Z": false} {
		when, _ := time.Parse(time.RFC3339, at)
		if i.At(when.UnixNano()) != want {
			t.Errorf("at %s: want %v", at, want)
		}
	}
	if k := s.Sources[0].Skipped; len(k) != 1 || k[0].Line != 3 || k[0].Reason != "valid at no time" {
		t.Errorf("left out: %+v", k)
	}
}

// TestTheSameIndicatorInTwoFiles is found in both.
func TestTheSameIndicatorInTwoFiles(t *testing.T) {
	dir := t.TempDir()
	var paths []string
	for _, name := range []string{"a.txt", "b.txt"} {
		paths = append(paths, filepath.Join(dir, name))
		if err := os.WriteFile(paths[len(paths)-1], []byte("evil.example\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Read(paths)
	if err != nil {
		t.Fatal(err)
	}
	list := s.Domain("evil.example")
	if len(list) != 2 || list[0].Source.File != "a.txt" || list[1].Source.File != "b.txt" || s.Sources[1].Count != 1 || s.Len() != 2 || len(s.Sources[0].SHA256) != 64 {
		t.Errorf("%+v", list)
	}
	if _, err := Read([]string{filepath.Join(dir, "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is missing: %v", err)
	}
}

// TestIndicatorsHaveALimit of their number.
func TestIndicatorsHaveALimit(t *testing.T) {
	s := newSet()
	s.entries = make([]entry, maxIndicators)
	if err := s.add("list", strings.NewReader("evil.example\n")); err == nil || !strings.Contains(err.Error(), "line 1: there are more than 2000000 indicators") {
		t.Error(err)
	}
}

// FuzzRead reads anything: it returns an error or a set, in which every value is found again.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{"evil.example\n203.0.113.5:80\nhttp://a.example/b?c\na@b.example\n" + md5Text, "indicator,type,valid_until\nevil.example,domain,2026-01-01\n", "#fields\tindicator\tindicator_type\nx.example\tIntel::DOMAIN\n",
		`{"objects":[{"type":"indicator","pattern":"[file:hashes.'SHA-256' = 'x' AND (a:b = 1 OR ipv4-addr:value IN ('203.0.113.1','203.0.113.2'))] WITHIN 5 SECONDS"}]}`, `{"Event":{"Attribute":[{"type":"domain|ip","value":"a.example|203.0.113.1","to_ids":true}]}}`, "0.0.0.0 a.example\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newSet()
		if err := s.add("list", strings.NewReader(string(b))); err != nil {
			if msg := err.Error(); len(msg) > 2000 {
				t.Errorf("an error of %d bytes", len(msg))
			}
			return
		}
		s.finish()
		for _, i := range listed(s) {
			var again []Indicator
			switch i.Kind {
			case Address:
				p, err := netip.ParsePrefix(i.Value)
				if err != nil {
					a := netip.MustParseAddr(i.Value)
					p = netip.PrefixFrom(a, a.BitLen())
				}
				again = s.Address(p.Addr())
			case Domain:
				again = s.Domain("x." + i.Value)
			case URL:
				host, rest, _ := strings.Cut(i.Value, "/")
				path, query, _ := strings.Cut(rest, "?")
				again = s.URL(host, "/"+path, query)
			case Mail:
				again = s.Mail("<" + i.Value + ">")
				if strings.ContainsAny(i.Value, "'\"()[]") { // a header separates what RFC 5322 allows in quotes only
					continue
				}
			case Any:
				again = s.Other(File, i.Value)
			default:
				again = s.Other(i.Kind, i.Value)
			}
			if !slices.ContainsFunc(again, func(x Indicator) bool { return x.No == i.No }) {
				t.Errorf("%v %q is not found again", i.Kind, i.Value)
			}
		}
		if s.Sources[0].Count != s.Len() {
			t.Errorf("%d of %d indicators are counted", s.Sources[0].Count, s.Len())
		}
	})
}

// FuzzPattern reads any pattern.
func FuzzPattern(f *testing.F) {
	f.Add("[ipv4-addr:value = '203.0.113.5' OR NOT domain-name:value = 'x'] AND ([a:b IN (1, 2)] REPEATS 5 TIMES) START t'2026-01-01T00:00:00Z' STOP t'2026-01-02T00:00:00Z'")
	f.Add(`[file:hashes.'SHA-256' = 'a\'b' AND EXISTS x:y.z[*]]`)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parsePattern(text)
		if err == nil && len(got.values) == 0 && got.why() == nil {
			t.Error("neither values nor a reason")
		}
		for _, v := range got.values {
			if v.text == "" {
				t.Error("an empty value")
			}
		}
	})
}

// BenchmarkMillion reads a million lines.
func BenchmarkMillion(b *testing.B) {
	var text strings.Builder
	for i := range 1_000_000 {
		switch i % 4 {
		case 0:
			fmt.Fprintf(&text, "%d.%d.%d.%d\n", 11+i%100, i>>16&255, i>>8&255, i&255)
		case 1:
			fmt.Fprintf(&text, "host%d.evil%d.example\n", i, i%1000)
		case 2:
			fmt.Fprintf(&text, "http://evil%d.example/path/%d.php?id=%d\n", i, i, i)
		case 3:
			fmt.Fprintf(&text, "%064x\n", i*0x1234567)
		}
	}
	for b.Loop() {
		if n := of(b, text.String()).Len(); n < 900_000 {
			b.Fatal(n)
		}
	}
}
