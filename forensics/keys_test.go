package forensics_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

var tlsKeys = filepath.Join("..", "samples", "tls.keylog")

// keyLines returns the lines in the secrets blocks of a capture, which must all precede the packets.
func keyLines(t *testing.T, path string) (lines []string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found, err := pcapng.Scan(bytes.NewReader(data), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range found.List {
		if s.Type != pcapng.SecretsTLS || len(s.Data) > 64<<10 {
			t.Errorf("a block of type %#x with %d bytes", s.Type, len(s.Data))
		}
		lines = append(lines, strings.Split(strings.TrimSuffix(string(s.Data), "\n"), "\n")...)
	}
	return lines
}

func TestASliceHasOnlyTheKeysOfItsConnections(t *testing.T) {
	c := open(t, sample(t, "tls.pcapng"))
	log, err := os.ReadFile(tlsKeys)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Split(strings.TrimSpace(string(log)), "\n")
	slices.Sort(all)
	twice := filepath.Join(t.TempDir(), "twice.log")
	foreign := "CLIENT_RANDOM " + strings.Repeat("ab", 32) + " " + strings.Repeat("cd", 48) + "\n"
	if err := os.WriteFile(twice, []byte("# keys\n"+foreign+string(log)+string(log)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		sel   forensics.Selection
		lines int
		added bool
	}{
		{"keys not requested", forensics.Selection{KeyFiles: []string{tlsKeys}}, 0, false},
		{"keys are counted", forensics.Selection{Keys: forensics.CountKeys, KeyFiles: []string{tlsKeys}}, 0, false},
		{"all connections", forensics.Selection{Keys: forensics.WithKeys, KeyFiles: []string{tlsKeys}}, len(all), false},
		{"all connections, every line twice and a foreign one", forensics.Selection{Keys: forensics.WithKeys, KeyFiles: []string{twice, tlsKeys}}, len(all), false},
		{"one connection of TLS 1.2", forensics.Selection{Keys: forensics.WithKeys, KeyFiles: []string{tlsKeys}, SQL: "select cites, flow_id from calls where conn_id = 1"}, 1, true},
		{"one connection of TLS 1.3", forensics.Selection{Keys: forensics.WithKeys, KeyFiles: []string{tlsKeys}, SQL: "select cites from calls where conn_id = 0"}, 4, true},
		{"exact packets", forensics.Selection{Keys: forensics.WithKeys, KeyFiles: []string{tlsKeys}, ExactPackets: true, SQL: "select cites from calls where conn_id = 0"}, 4, false},
		{"whole connections", forensics.Selection{Keys: forensics.WithKeys, KeyFiles: []string{tlsKeys}, Context: forensics.WholeConnections, SQL: "select cites from calls where conn_id = 0"}, 4, false},
		{"no key of a file", forensics.Selection{Keys: forensics.WithKeys}, 0, false},
		{"nothing that is encrypted", forensics.Selection{Keys: forensics.WithKeys, KeyFiles: []string{tlsKeys}, SQL: "select cites from calls where protocol <> 'tls'"}, 0, false},
	} {
		path, r := slice(t, c, tt.sel)
		got := keyLines(t, path)
		if len(got) != tt.lines || tt.lines > 4 && !slices.Equal(got, all) {
			t.Errorf("%s: %d lines, want %d: %q", tt.name, len(got), tt.lines, got)
		}
		if tt.sel.Keys == forensics.WithKeys && r.Keys.Lines != int64(tt.lines) || (r.Keys.Added > 0) != tt.added || int64(len(packets(t, path))) != r.Packets {
			t.Errorf("%s: %+v", tt.name, r.Keys)
		}
		if tt.sel.Keys == forensics.CountKeys && r.Keys.Lines != int64(len(all)) {
			t.Errorf("%s: %+v", tt.name, r.Keys)
		}
	}
}

func TestAWindowBringsTheHandshakesOfItsConnections(t *testing.T) {
	c := open(t, sample(t, "tls.pcapng"))
	from := number(t, c, "select min(ts_ns) + 8000000 from packets") // in the middle of a connection
	_, without := slice(t, c, forensics.Selection{From: from})
	path, with := slice(t, c, forensics.Selection{From: from, Keys: forensics.WithKeys, KeyFiles: []string{tlsKeys}})
	if with.Keys.Added == 0 || with.Packets != without.Packets+with.Keys.Added || with.Keys.Opened == 0 {
		t.Fatalf("%d packets with keys (%+v), %d without", with.Packets, with.Keys, without.Packets)
	}
	syns := map[uint16]bool{}
	for _, p := range packets(t, path) { // of every connection in it, the first packet
		if len(p.Data) > 47 && p.Data[47]&2 != 0 {
			syns[uint16(p.Data[34])<<8|uint16(p.Data[35])] = true
		}
	}
	if len(syns) == 0 {
		t.Error("no handshake came along")
	}
}

func TestKeysInsideABundleComeAlongWhenAsked(t *testing.T) {
	whole, _ := slice(t, open(t, sample(t, "tls.pcapng")), forensics.Selection{Keys: forensics.WithKeys, KeyFiles: []string{tlsKeys}})
	made := filepath.Join(t.TempDir(), "again.pcapsule")
	if _, err := exporter.Run(ctx, []string{whole}, made, exporter.Options{Release: "test"}); err != nil {
		t.Fatal(err)
	}
	c := open(t, made)
	without, r := slice(t, c, forensics.Selection{Keys: forensics.CountKeys})
	if n := len(keyLines(t, without)); n != 0 || r.Secrets != 0 || r.Keys.Lines == 0 {
		t.Errorf("%d lines in a slice without keys, %+v", n, r.Keys)
	}
	with, r := slice(t, c, forensics.Selection{Keys: forensics.WithKeys})
	if got := keyLines(t, with); int64(len(got)) != r.Keys.Lines || !slices.Equal(got, keyLines(t, whole)) {
		t.Errorf("%d lines, %+v", len(got), r.Keys)
	}
}

func TestFilesThatHoldNoKeysAreRefused(t *testing.T) {
	c := open(t, sample(t, "tls.pcapng"))
	for _, tt := range []struct {
		name, path string
		want       error
	}{
		{"a missing file", "nosuch.log", fs.ErrNotExist},
		{"text", filepath.Join("..", "samples", "README.md"), secrets.ErrNoKey},
		{"a capture without secrets", filepath.Join("..", "samples", "dns.pcap"), secrets.ErrNoKey},
	} {
		path := filepath.Join(t.TempDir(), "slice.pcapng")
		_, err := c.PacketsFile(ctx, forensics.Selection{Keys: forensics.WithKeys, KeyFiles: []string{tt.path}}, path)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: a slice is there", tt.name)
		}
	}
}

func TestTsharkDecryptsASliceByItself(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("needs tshark")
	}
	c := open(t, sample(t, "tls.pcapng"))
	for _, tt := range []struct {
		keys forensics.Keys
		want bool
	}{{forensics.WithKeys, true}, {forensics.NoKeys, false}} {
		// The last three packets of each connection; the handshakes must be added.
		path, _ := slice(t, c, forensics.Selection{Keys: tt.keys, KeyFiles: []string{tlsKeys},
			SQL: "select packet_no, flow_id from (select *, row_number() over (partition by flow_id order by packet_no desc) as r from packets where payload > 0) where r <= 3"})
		out, err := exec.Command("tshark", "-n", "-r", path, "-Y", "http.request || http2.headers.method", "-T", "fields", "-e", "frame.number").Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := bytes.Count(out, []byte("\n")); (got >= 4) != tt.want {
			t.Errorf("keys %q: tshark shows %d requests", tt.keys, got)
		}
	}
}
