package wireshark

import (
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func read(t *testing.T, dir, name string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

// hostile are names that try to add a line, an address, a preference or a filter.
var hostile = []string{"a\n10.0.0.1 bank", "a\r\ngui.column.format: \"x\", \"%m\"", "x\" || frame", "10.0.0.9", "::1", "10.1", "...", "#c", "a b", "a\tb", "ünï/cødé", "\u2028", strings.Repeat("long.", 100), "", `x\x22`, "@[0,0,0]"}

func TestHostileNamesAddNothing(t *testing.T) {
	p := Profile{Label: "pcapsule:0123456789abcdef"}
	var hosts []Host
	for i, name := range hostile {
		hosts = append(hosts, Host{netip.AddrFrom4([4]byte{10, 9, 0, byte(i)}), name})
		p.Filters = append(p.Filters, Filter{"KFL: " + name, "frame"})
	}
	p.Hosts = mergeHosts(hosts)
	dir := t.TempDir()
	if err := p.Write(dir); err != nil {
		t.Fatal(err)
	}
	for _, line := range read(t, dir, "hosts") {
		words := strings.Fields(line)
		if len(words) != 2 || !strings.HasPrefix(words[0], "10.9.0.") || strings.ContainsAny(words[1], "#\"\\") || len(words[1]) > maxHostName {
			t.Errorf("hosts: %q", line)
		}
		if _, err := netip.ParseAddr(words[1]); err == nil {
			t.Errorf("hosts: %q names an address", line)
		}
	}
	for _, name := range []string{"dfilters", "dfilter_buttons"} {
		if lines := read(t, dir, name); len(lines) != len(labels)+len(hostile) {
			t.Errorf("%s: %d lines, want %d", name, len(lines), len(labels)+len(hostile))
		}
	}
	if lines := read(t, dir, "preferences"); len(lines) != strings.Count(columns, "\n") {
		t.Errorf("preferences: %q", lines)
	}
	if n := len(p.Hosts); n == 0 || n == len(hostile) {
		t.Errorf("%d names", n)
	}
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("needs tshark")
	}
	c := exec.Command("tshark", "-r", "../../samples/dns.pcap", "-c", "1")
	c.Env = append(os.Environ(), "WIRESHARK_CONFIG_DIR="+dir)
	out, err := c.CombinedOutput()
	if text := strings.ReplaceAll(string(out), `Running as user "root" and group "root". This could be dangerous.`, ""); err != nil || strings.Contains(text, "tshark:") || strings.Contains(text, "Warn") {
		t.Errorf("tshark with the profile: %v: %s", err, text)
	}
}

func TestNamesOfOneAddress(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1")
	got := mergeHosts([]Host{{b, "shop/cart"}, {a, "shop/pay"}, {a, "shop/auth"}, {a, "shop/pay"}, {netip.MustParseAddr("10.0.0.2"), "x"}, {netip.MustParseAddr("10.0.0.2"), "y"}, {netip.MustParseAddr("10.0.0.2"), "z"}})
	want := []Host{{a, "shop/auth_or_shop/pay"}, {netip.MustParseAddr("10.0.0.2"), "x_or_2_others"}, {b, "shop/cart"}}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestWiresharkHasTheProtocols compares the names of protocols with those of tshark.
func TestWiresharkHasTheProtocols(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("needs tshark")
	}
	out, err := exec.Command("tshark", "-G", "protocols").Output()
	if err != nil {
		t.Fatal(err)
	}
	short := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if words := strings.Split(strings.TrimRight(line, "\n"), "\t"); len(words) > 2 {
			short[words[2]] = words[1]
		}
	}
	has := map[string]string{}
	for _, list := range []string{"tcp.port", "udp.port", "tls.port"} {
		out, _ := exec.Command("tshark", "-d", list+"==1,").CombinedOutput() // an error that lists them
		for line := range strings.Lines(string(out)) {
			if name, _, ok := strings.Cut(strings.TrimSpace(line), " ("); ok {
				has[name] += " " + list
			}
		}
	}
	for ours, x := range protocols {
		if short[x.name] != x.short {
			t.Errorf("%s is %q in Wireshark, not %q", ours, short[x.name], x.short)
		}
		if has[x.name] == "" || strings.Contains(has[x.name], "tls.port") != x.inTLS {
			t.Errorf("%s (%s) is in%s, inside TLS: %t", ours, x.name, has[x.name], x.inTLS)
		}
	}
}
