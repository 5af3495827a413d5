package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pcapsule/pcapsule/cli"
	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/cli/exit"
)

// place has what the commands of these tests work on.
type place struct{ capture, keys, keylog, bundle, rules, script string }

func placeFor(t *testing.T) *place {
	t.Helper()
	dir := t.TempDir()
	p := &place{capture: "../samples/dns.pcap", keys: "../samples/tls.pcapng", keylog: "../samples/tls.keylog", bundle: filepath.Join(dir, "b.pcapsule"),
		rules: filepath.Join(dir, "rules.yaml"), script: "dns\n"}
	if err := os.WriteFile(p.rules, []byte("version: 1\nrules: [{name: x, calls: dns, count: {min: 1}}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	clitest.Done(t, "bundle", p.capture, "-o", p.bundle)
	return p
}

// TestEveryCommandNoticesAFullOutput runs every command with a standard output that takes nothing. A
// new command needs a row.
func TestEveryCommandNoticesAFullOutput(t *testing.T) {
	p := placeFor(t)
	out := filepath.Join(t.TempDir(), "n.pcapsule")
	rows := map[string][]string{
		"bundle": {p.capture, "-o", out}, "info": {p.bundle}, "ask": {"get-overview", p.bundle}, "check": {p.bundle, p.rules}, "query": {p.bundle, "dns"},
		"sql": {p.bundle, "SELECT 1", "--format", "parquet"}, "shell": {p.bundle}, "kfl": {"check", "dns"}, "show": {p.bundle, "1"}, "follow": {p.bundle, "1"},
		"packets": {p.bundle, "-o", "-"}, "decrypt": {p.keys, "--keys", p.keylog, "-o", "-"}, "report": {p.bundle, "-o", "-"}, "verify": {p.bundle},
		"custody": {"show", p.bundle}, "extcap": {"--extcap-interfaces"}, "schema": {}, "completion": {"bash"}, "version": {}, "help": {"query"}, "doctor": {},
		"record": {"--help"}, "seal": {"--help"}, "timestamp": {"--help"}, "ring": {"--help"}, "snapshot": {"--help"}, "serve": {"--help"}, "open": {"--help"}, "mcp": {"--help"},
		"redact": {"--policy", "../samples/policies/cards.yaml", "--test"}, "cut": {p.bundle, "dns", "-o", filepath.Join(filepath.Dir(out), "c.pcapsule")},
		"merge": {"--help"}, "handover": {p.bundle, "--to", "Ann", "-o", filepath.Join(filepath.Dir(out), "handover")}, "receive": {"--help"}, "reveal": {"--help"},
		"fetch": {"--help"}, "tail": {"--help"}, "protocols": {}, "store": {"--help"}, "lake": {"--help"}, "kubectl": {"--help"}, "objects": {p.bundle, "--format", "json"}, "findings": {p.bundle},
		"collection": {"--help"}, "man": {}, "wireshark": {p.bundle, "dns", "--print", "-o", filepath.Join(filepath.Dir(out), "handoff")},
	}
	for _, c := range cli.Root().Commands() {
		args, ok := rows[c.Name()]
		if !ok {
			if !c.Hidden {
				t.Errorf("no row for %s", c.Name())
			}
			continue
		}
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Skip("needs /dev/full: ", err)
		}
		var said bytes.Buffer
		code := cli.Main(append([]string{c.Name()}, args...), strings.NewReader(p.script), full, &said)
		full.Close()
		if code != exit.Disk || !strings.Contains(said.String(), "writing standard output: no space left on device\nhint: the output is incomplete") {
			t.Errorf("%s %q: exit code %d, want %d: %s", c.Name(), args, code, exit.Disk, said.String())
		}
	}
}

// TestPlacesThatCannotBeWritten runs the commands that write somewhere by themselves, with a cache, a
// folder for temporary files and an output on a disk that is full or read-only. What only helps, such
// as remembering a verification, is left out silently.
func TestPlacesThatCannotBeWritten(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	p := placeFor(t)
	disk := t.TempDir()
	captures := [][]string{{"info", p.capture}, {"query", p.capture, "dns"}, {"ask", "get-overview", p.capture}, {"sql", p.capture, "SELECT 1"}, {"show", p.capture, "1"},
		{"follow", p.capture, "1"}, {"check", p.capture, p.rules}, {"report", p.capture, "-o", "-"}}
	bundles := [][]string{{"info", p.bundle}, {"query", p.bundle, "dns"}, {"verify", p.bundle}, {"report", p.bundle, "-o", "-"}, {"shell", p.bundle}}
	writes := [][]string{{"bundle", p.capture, "-o", disk + "/x.pcapsule"}, {"packets", p.bundle, "-o", disk + "/x.pcapng"}, {"report", p.bundle, "-o", disk + "/x.html"},
		{"decrypt", p.keys, "--keys", p.keylog, "-o", disk + "/x.pcapng"}}
	for _, tt := range []struct {
		what, variable string // of the environment, set to the disk
		commands       [][]string
		code           int
		hint           map[string]string // for each kind of disk
	}{
		{"a capture needs the cache", "XDG_CACHE_HOME", captures, exit.Disk, map[string]string{"ro": "or set XDG_CACHE_HOME", "size=64k": "or set XDG_CACHE_HOME"}},
		{"a bundle does not", "XDG_CACHE_HOME", bundles, exit.Done, nil},
		{"small questions need no temporary files", "TMPDIR", bundles, exit.Done, nil},
		{"making a bundle again does", "TMPDIR", [][]string{{"verify", p.bundle, "--rederive"}}, exit.Disk, map[string]string{"ro": "TMPDIR names the place of temporary files", "size=64k": "free space"}},
		{"outputs", "", writes, exit.Disk, map[string]string{"ro": "choose another place", "size=64k": "nothing was left behind; free space"}},
	} {
		for _, options := range []string{"ro", "size=64k"} {
			t.Run(tt.what+", "+options, func(t *testing.T) {
				if err := mountSmall(disk, options); err != nil {
					t.Skip("needs CAP_SYS_ADMIN: ", err)
				}
				defer syscall.Unmount(disk, syscall.MNT_DETACH)
				if options != "ro" {
					_ = os.WriteFile(filepath.Join(disk, "fill"), make([]byte, 1<<20), 0o600) // as much as fits
				}
				before := clitest.Names(t, disk)
				if tt.variable != "" {
					t.Setenv(tt.variable, disk)
				}
				for _, args := range tt.commands {
					var said bytes.Buffer
					code := cli.Main(args, strings.NewReader(p.script), &bytes.Buffer{}, &said)
					if code != tt.code || !strings.Contains(said.String(), tt.hint[options]) {
						t.Errorf("%q: exit code %d, want %d and %q: %s", args, code, tt.code, tt.hint[options], said.String())
					}
				}
				if left := clitest.Names(t, disk); tt.variable == "" && strings.Join(left, " ") != strings.Join(before, " ") {
					t.Errorf("left behind: %q", left)
				}
			})
		}
	}
}
