package kfl

import (
	"os/exec"
	"strings"
	"testing"
)

func TestDisplay(t *testing.T) {
	port := func(side, n string) string {
		return strings.NewReplacer("S", side, "N", n).Replace("(tcp.Sport == N || udp.Sport == N || sctp.Sport == N)")
	}
	var filters []string
	for _, x := range []struct{ kfl, filter, reverse string }{
		{`dst.ip == "10.0.0.7"`, `ip.dst == 10.0.0.7 || ip.src == 10.0.0.7`, `src.ip == "10.0.0.7"`},
		{`src_ip == "2001:db8::7"`, `ipv6.src == 2001:db8::7 || ipv6.dst == 2001:db8::7`, `dst.ip == "2001:db8::7"`},
		{`dst.port == 443`, port("dst", "443") + " || " + port("src", "443"), `src.port == 443`},
		{`dst.ip == "10.0.0.7" && dst.port in [80, 443]`, "(ip.dst == 10.0.0.7 && (" + port("dst", "80") + " || " + port("dst", "443") + ")) || (ip.src == 10.0.0.7 && (" + port("src", "80") + " || " + port("src", "443") + "))",
			`(src.ip == "10.0.0.7" && (src.port == 80 || src.port == 443))`},
		{`transport == "tcp"`, "tcp", ""},
		{`transport != "tcp"`, "!(tcp)", ""},
		{`cidr(src.ip, "10.0.0.0/8")`, `(ip.src == 10.0.0.0/8) || (ip.dst == 10.0.0.0/8)`, `(cidr(dst.ip, "10.0.0.0/8"))`},
		{`!(src.port != 53)`, "!(!(" + port("src", "53") + ")) || !(!(" + port("dst", "53") + "))", `!(!(dst.port == 53))`},
	} {
		q, err := Compile(x.kfl, Env{})
		if err != nil {
			t.Fatalf("%s: %v", x.kfl, err)
		}
		d, why := q.Display()
		if d.Filter != x.filter || d.Reverse != x.reverse || why != "" {
			t.Errorf("%s: %q, reverse %q, %s; want %q, %q", x.kfl, d.Filter, d.Reverse, why, x.filter, x.reverse)
		}
		if d.Reverse != "" {
			if _, err := Compile(d.Reverse, Env{}); err != nil {
				t.Errorf("%s: reverse %s: %v", x.kfl, d.Reverse, err)
			}
		}
		filters = append(filters, d.Filter)
	}
	if _, err := exec.LookPath("tshark"); err != nil {
		return
	}
	out, err := exec.Command("tshark", "-r", "../samples/dns.pcap", "-Y", strings.Join(filters, " || ")).CombinedOutput()
	if err != nil {
		t.Errorf("tshark: %v: %s", err, out)
	}
}

func TestDisplayRefuses(t *testing.T) {
	for query, about := range map[string]string{
		``: "no condition", `http`: "protocol", `status_code == 500`: "status_code", `dst.port == 443 && failed`: "failed", `transport == "udp"`: "transport",
		`dst.port < 1024`: "dst_port", `dst.port == 0`: "dst_port", `dst.ip == src.ip`: "_ip", `dst.port in [80, src.port]`: "port", `src.service == "a"`: "src_service", `path contains "x" || dst.port == 80`: "path",
		`dst.port == 80 && limit(3)`: "limit",
	} {
		q, err := Compile(query, Env{})
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		if d, why := q.Display(); d != (Display{}) || !strings.Contains(why, about) {
			t.Errorf("%s: %+v because %s; want a reason with %q", query, d, why, about)
		}
	}
}
