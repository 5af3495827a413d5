package alerts

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// read reads a file with this content.
func read(t *testing.T, content string) (*Claims, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "eve.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	c := New(MaxRows, MaxBytes)
	if err := c.Read(path); err != nil {
		return nil, err
	}
	return c, c.Finish()
}

// kept are the lines that are kept.
func kept(t *testing.T, c *Claims) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const (
	eveAlert = `{"timestamp":"2026-01-02T03:04:05.000123+0100","flow_id":7,"event_type":"alert","src_ip":"10.0.0.1","src_port":40001,"dest_ip":"10.0.0.2","dest_port":80,"proto":"TCP","pcap_cnt":4,"suricata_version":"8.0.1","community_id":"1:x=",` +
		`"alert":{"action":"allowed","gid":1,"signature_id":2019401,"rev":26,"signature":"ET TEST <x> & y","category":"Attempted Recon","severity":2,"metadata":{"mitre_technique_id":["T1071"]}},` +
		`"http":{"hostname":"shop.example","url":"/a?b=1","http_method":"GET","http_request_body":"c2VjcmV0","request_headers":[{"name":"Authorization","value":"Bearer x"}]},"payload":"R0VU","payload_printable":"GET","packet":"AAAA"}`
	zeekHead   = "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tnotice\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tnote\tmsg\tsub\n#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tenum\tstring\tstring\n"
	zeekNotice = "1300475167.096535\tCx\t10.0.0.1\t40001\t10.0.0.2\t80\ttcp\tHTTP::SQL_Injection\tan \\x09 attack\t-\n"
)

func TestClaims(t *testing.T) {
	for _, tt := range []struct {
		name, line, want string
	}{
		{"an alert of Suricata, without payload, bodies and headers", eveAlert,
			`{"pcapsule_alert":1,"ts_ns":1767319445000123000,"program":"suricata","version":"8.0.1","kind":"alert","rule_id":"1:2019401:26","rule":"ET TEST <x> & y","category":"Attempted Recon","severity":"2","action":"allowed","proto":"tcp","src_ip":"10.0.0.1","src_port":40001,"dst_ip":"10.0.0.2","dst_port":80,"community_id":"1:x=","frame":4,"said_id":"7","text":"GET shop.example/a?b=1","detail":{"http":{"hostname":"shop.example","http_method":"GET","url":"/a?b=1"},"metadata":{"rule":{"mitre_technique_id":["T1071"]}}},"source":"eve.json","line":1}`},
		{"an anomaly about ICMPv6", `{"timestamp":"2026-01-02T03:04:05Z","event_type":"anomaly","src_ip":"fe80::1","dest_ip":"FE80::2","proto":"IPv6-ICMP","icmp_type":1,"anomaly":{"type":"decode","event":"decoder.icmpv6.unknown_type"}}`,
			`{"pcapsule_alert":1,"ts_ns":1767323045000000000,"program":"suricata","kind":"anomaly","rule_id":"decoder.icmpv6.unknown_type","category":"decode","proto":"ipv6-icmp","src_ip":"fe80::1","dst_ip":"fe80::2","detail":{"anomaly":{"event":"decoder.icmpv6.unknown_type","type":"decode"}},"source":"eve.json","line":1}`},
		{"a notice of Zeek in JSON", `{"ts":1300475167.09,"note":"Scan::Port_Scan","msg":"10.0.0.1 scanned","src":"10.0.0.1","dst":"10.0.0.2","actions":["Notice::ACTION_LOG"]}`,
			`{"pcapsule_alert":1,"ts_ns":1300475167090000000,"program":"zeek","kind":"notice","rule_id":"Scan::Port_Scan","src_ip":"10.0.0.1","dst_ip":"10.0.0.2","text":"10.0.0.1 scanned","detail":{"actions":["Notice::ACTION_LOG"]},"source":"eve.json","line":1}`},
		{"a connection of Zeek, in milliseconds and with nested records", `{"_path":"conn","ts":1300475167096,"uid":"Cx","id":{"orig_h":"10.0.0.1","orig_p":40001,"resp_h":"10.0.0.2","resp_p":53},"proto":"udp","duration":0.25,"conn_state":"SF","history":"Dd"}`,
			`{"pcapsule_alert":1,"ts_ns":1300475167096000000,"end_ns":1300475167346000000,"millis":true,"program":"zeek","kind":"conn","rule_id":"SF","rule":"Dd","proto":"udp","src_ip":"10.0.0.1","src_port":40001,"dst_ip":"10.0.0.2","dst_port":53,"said_id":"Cx","detail":{"conn_state":"SF","duration":0.25,"history":"Dd"},"source":"eve.json","line":1}`},
		{"a match of Zeek, which names no protocol", `{"ts":"2011-03-18T19:06:07.096535Z","uid":"Cx","id.orig_h":"10.0.0.1","id.orig_p":40001,"id.resp_h":"10.0.0.2","id.resp_p":80,"seen.indicator":"evil.example","seen.indicator_type":"Intel::DOMAIN","seen.where":"HTTP::IN_HOST_HEADER","sources":["feed"]}`,
			`{"pcapsule_alert":1,"ts_ns":1300475167096535000,"program":"zeek","kind":"intel","rule_id":"Intel","rule":"Intel::DOMAIN","category":"feed HTTP::IN_HOST_HEADER","src_ip":"10.0.0.1","src_port":40001,"dst_ip":"10.0.0.2","dst_port":80,"said_id":"Cx","text":"evil.example","detail":{"seen.where":"HTTP::IN_HOST_HEADER","sources":["feed"]},"source":"eve.json","line":1}`},
		{"a log with tabs and escapes", zeekHead + zeekNotice,
			`{"pcapsule_alert":1,"ts_ns":1300475167096535000,"program":"zeek","kind":"notice","rule_id":"HTTP::SQL_Injection","proto":"tcp","src_ip":"10.0.0.1","src_port":40001,"dst_ip":"10.0.0.2","dst_port":80,"said_id":"Cx","text":"an \t attack","source":"eve.json","line":8}`},
		{"events of other kinds", eveAlert + "\n" + `{"timestamp":"2026-01-02T03:04:05Z","event_type":"stats"}`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := read(t, tt.line+"\n")
			if err != nil {
				t.Fatal(err)
			}
			got := kept(t, c)
			if tt.want != "" && strings.TrimSpace(got) != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if c.Len() != 1 || c.Files[0].Warning != "" {
				t.Errorf("%d claims, %q", c.Len(), c.Files[0].Warning)
			}
			again, err := read(t, got)
			if err != nil {
				t.Fatal(err)
			}
			if s := kept(t, again); s != got {
				t.Errorf("made again: %s", s)
			}
		})
	}
}

// TestDamagedLines checks that a damaged line is named and costs only itself.
func TestDamagedLines(t *testing.T) {
	for _, tt := range []struct{ name, line, want string }{
		{"no JSON", `{"timestamp":`, "it is no JSON"},
		{"no object", `{"event_type":"alert","timestamp":"2026-01-02T03:04:05Z","alert":[]}`, "it has no object alert"},
		{"wrong types", `{"event_type":{"a":1},"timestamp":7}`, "neither event_type"},
		{"no time", strings.Replace(eveAlert, "2026-01-02T03", "yesterday", 1), "no time"},
		{"a time that no number holds", strings.Replace(eveAlert, "2026-01-02", "2999-01-02", 1), "no time"},
		{"two objects", eveAlert + eveAlert, "more than a JSON object"},
		{"neither JSON nor a header", "plain text", "neither JSON"},
		{"a line of a bundle with a wrong address", `{"pcapsule_alert":1,"ts_ns":5,"program":"zeek","kind":"conn","src_ip":"x"}`, "no line that pcapsule wrote"},
		{"a line that is too long", `{"a":"` + strings.Repeat("x", maxLine) + `"}`, "longer than 1048576 bytes"},
		{"fields that are missing", zeekHead + "1300475167.0\tCx", "line 9: it has another number of fields"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := read(t, eveAlert+"\n"+tt.line+"\n"+strings.Replace(eveAlert, "2019401", "7", 1)+"\n")
			if err != nil {
				t.Fatal(err)
			}
			if c.Len() != 2 || !strings.Contains(c.Files[0].Warning, tt.want) || !strings.Contains(c.Files[0].Warning, "line 2:") && !strings.Contains(tt.want, "line") {
				t.Errorf("%d claims, %q", c.Len(), c.Files[0].Warning)
			}
			if _, err := read(t, tt.line+"\n"); err == nil && !strings.HasPrefix(tt.line, "#") {
				t.Error("a file of nothing else is read without an error")
			}
		})
	}
	if _, err := read(t, ""); err != ErrEmpty {
		t.Errorf("an empty file: %v", err)
	}
}

// TestBadText checks that text is valid and short whatever a log has.
func TestBadText(t *testing.T) {
	long := strings.Repeat("a\xff\x00", 5000)
	c, err := read(t, `{"timestamp":"2026-01-02T03:04:05Z","event_type":"alert","alert":{"signature":"`+strings.ReplaceAll(long, "\x00", "")+`"},"http":{"url":"/`+strings.ReplaceAll(long, "\x00", `\u0000`)+`"}}`+"\n"+zeekHead+strings.Replace(zeekNotice, "an ", long, 1))
	if err != nil {
		t.Fatal(err)
	}
	got := kept(t, c)
	if c.Len() != 2 || strings.ToValidUTF8(got, "") != got || len(got) > 4*maxDetail {
		t.Errorf("%d claims of %d bytes", c.Len(), len(got))
	}
	again, err := read(t, got)
	if err != nil || kept(t, again) != got {
		t.Errorf("made again it is another: %v", err)
	}
}

// TestLimits checks that what is too much is counted, and that the same files in another order give the same claims.
func TestLimits(t *testing.T) {
	var b strings.Builder
	for i := range 50 {
		b.WriteString(strings.Replace(eveAlert, "2019401", fmt.Sprint(i), 1) + "\n")
	}
	path := filepath.Join(t.TempDir(), "eve.json")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, limit := range [][2]int{{20, MaxBytes}, {MaxRows, 20 * 600}} {
		c := New(limit[0], limit[1])
		if err := c.Read(path); err != nil {
			t.Fatal(err)
		}
		if n := c.Files[0].Counts["limited"]; c.Len() > 25 || c.Len() < 15 || int(n)+c.Len() != 50 || !strings.Contains(c.Files[0].Warning, "alerts were left out") {
			t.Errorf("%d claims, %d left out: %s", c.Len(), n, c.Files[0].Warning)
		}
	}
}

// TestEndsByUID checks that a notice that names only a uid gets the ends of another line with it.
func TestEndsByUID(t *testing.T) {
	c, err := read(t, `{"ts":1300475168,"uid":"Cx","note":"A::B","msg":"m"}`+"\n"+`{"_path":"conn","ts":1300475167.5,"uid":"Cx","id.orig_h":"10.0.0.1","id.orig_p":1,"id.resp_h":"10.0.0.2","id.resp_p":80,"proto":"tcp","conn_state":"S0"}`+"\n")
	if err != nil {
		t.Fatal(err)
	}
	x, err := c.At(1)
	if err != nil || x.Kind != "notice" || len(x.Ends()) != 1 || x.DstPort != 80 {
		t.Errorf("%+v %v", x, err)
	}
}

// TestRedacted checks that nothing from the traffic is left.
func TestRedacted(t *testing.T) {
	c, err := read(t, eveAlert+"\n"+zeekHead+zeekNotice+`{"ts":1,"seen.indicator":"evil.example","seen.indicator_type":"Intel::DOMAIN"}`+"\n")
	if err != nil {
		t.Fatal(err)
	}
	got := string(Redacted([]byte(kept(t, c))))
	for _, word := range []string{"shop.example", "/a?b", "1:x=", "attack", "evil.example", "Cx", "eve.json"} {
		if strings.Contains(got, word) {
			t.Errorf("%s is left in %s", word, got)
		}
	}
	for _, word := range []string{"ET TEST", "1:2019401:26", "HTTP::SQL_Injection", "10.0.0.1"} {
		if !strings.Contains(got, word) {
			t.Errorf("%s is not left in %s", word, got)
		}
	}
}

// FuzzRead checks that whatever a file has, it is an error or lines that are read again as they are.
func FuzzRead(f *testing.F) {
	for _, s := range []string{eveAlert, zeekHead + zeekNotice, `{"ts":1300475167096,"conn_state":"SF","id":{"orig_h":"::1"}}`, "#separator \\x\n#fields\tts\n1", `{"pcapsule_alert":1}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := read(t, s)
		if err != nil {
			return
		}
		got := kept(t, c)
		if got == "" {
			return
		}
		again, err := read(t, got)
		if err != nil || kept(t, again) != got {
			t.Errorf("%v\n%q\n%q", err, got, kept(t, again))
		}
	})
}
