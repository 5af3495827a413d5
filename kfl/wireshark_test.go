package kfl

import (
	"errors"
	"strings"
	"testing"
)

// TestWiresharkFields compiles the KFL of every field.
func TestWiresharkFields(t *testing.T) {
	if n := len(wireshark()); n < 60 {
		t.Errorf("%d fields, want at least 60", n)
	}
	for name := range wireshark() {
		if names().byName[name] != nil {
			t.Errorf("%s is a name in KFL, so its row is never used", name)
			continue
		}
		var faults []string
		for _, value := range []string{"1", `"x"`, "10.0.0.1", `"2026-01-31T12:00:00Z"`} {
			for _, op := range []string{" == ", " contains "} {
				if _, err := Compile(fromWireshark(name+op+value, false), Env{}); err != nil {
					faults = append(faults, err.Error())
				}
			}
		}
		if _, err := Compile(fromWireshark(name, false), Env{}); err != nil {
			faults = append(faults, err.Error())
		}
		if len(faults) == 9 {
			t.Errorf("%s: %s", name, strings.Join(faults, "\n"))
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
		`http.response.code >= 500`:                     `write status_code >= 500`,
		`tcp.port == 80`:                                `write (src.port == 80 || dst.port == 80)`,
		`tcp.port eq 80 and ip.src eq 10.0.0.1`:         `write (src.port == 80 || dst.port == 80) and src.ip == "10.0.0.1"`,
		`http.request.method == "POST" && !tcp.srcport`: `write method == "POST" && !src.port`,
		`http.host contains "ip.addr == 1"`:             `write host contains "ip.addr == 1"`,
		`http.request.uri matches "^/api"`:              `write path.matches("^/api")`,
		`tcp.analysis.retransmission`:                   `write tcp.retransmissions > 0`,
		`tcp.flags.reset == 1 && dns.qry.name == "a.b"`: `write tcp.resets > 0 && host == "a.b"`,
		`ssl.handshake.extensions_server_name == "a.b"`: `write tls.sni == "a.b"`,
		`bootp.option.hostname == "laptop"`:             `write dhcp_hostname == "laptop"`,
		`kafka.topic_name == "orders"`:                  `write kafka_topics.* == "orders"`,
		`smb2.filename contains "pay"`:                  `write smb_file contains "pay"`,
		`tcp.flags.reset == 0`:                          `write !(tcp.resets > 0)`,
		`htpp && ip.src == 10.0.0.1`:                    ``, // it has another error
	} {
		_, err := Compile(src, Env{})
		var bad *Error
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
		if _, err := Compile(strings.TrimPrefix(bad.Hint, "write "), Env{}); err != nil {
			t.Errorf("%s: its hint does not compile: %v", src, err)
		}
	}
}
