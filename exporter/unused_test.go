package exporter

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFilesThatFitNothing checks the warnings about files of the user that have nothing to do
// with the captures, and that files that fit have none.
func TestFilesThatFitNothing(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	other := write("other.keys", "CLIENT_RANDOM "+strings.Repeat("0a", 32)+" "+strings.Repeat("0b", 48)+"\n")
	for i, row := range []struct {
		what, capture     string
		kube, hosts, keys string
		want              string // warnings
	}{
		{"a dump of this cluster", "shop.pcapng", "../samples/shop.kube.json", "", "", ""},
		{"a dump of another cluster", "dns.pcap", "../samples/shop.kube.json", "", "", "shop.kube.json: no address in the Kubernetes files occurs in the captures"},
		{"a hosts file with an address of the capture, and others", "dns.pcap", "", "127.0.0.1 localhost\n10.1.4.5 resolver\n", "", ""},
		{"a hosts file with a damaged line", "dns.pcap", "", "10.1.4.5 resolver\nresolver 10.1.4.5\n", "", "hosts: entries left out because they cannot be read: 1; some addresses may lack their names"},
		{"hosts of another network", "dns.pcap", "", "192.0.2.1 web\n192.0.2.2 db\n", "", "hosts: no address in the hosts files occurs in the captures"},
		{"keys of these connections", "tls.pcapng", "", "", "../samples/tls.keylog", ""},
		{"keys of other connections", "tls.pcapng", "", "", other, "other.keys: the keys decrypt nothing: no encrypted connection has a client random in them"},
		{"keys for a capture without encryption", "dns.pcap", "", "", other, "other.keys: the keys decrypt nothing: the captures have no encrypted connection"},
	} {
		o := Options{Release: "test"}
		if row.kube != "" {
			o.Kube = []string{row.kube}
		}
		if row.hosts != "" {
			o.Hosts = []string{write("hosts", row.hosts)}
		}
		if row.keys != "" {
			o.Keys = []string{row.keys}
		}
		out := filepath.Join(dir, string(rune('a'+i))+".pcapsule")
		m, err := Run(context.Background(), []string{"../samples/" + row.capture}, out, o)
		if err != nil {
			t.Fatal(err)
		}
		if all := strings.Join(m.Warnings, "; "); all != row.want {
			t.Errorf("%s: %q, want %q", row.what, all, row.want)
		}
		if r := rederive(t, out, Options{Keys: o.Keys}); len(r.Differences) > 0 {
			t.Errorf("%s: made again: %v", row.what, r.Differences)
		}
	}
}
