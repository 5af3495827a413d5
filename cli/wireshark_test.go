package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// oddPorts is a capture of HTTP and Redis on ports where nobody expects them. A path and a value try to be more than
// text.
func oddPorts(t *testing.T) string {
	t.Helper()
	var c traffic.Capture
	second := time.Second
	c.Exchange(second, second/10, "a", "10.0.0.1", "10.0.0.2:7071", traffic.HTTP("GET /ok HTTP/1.1", "Host: shop", ""), traffic.HTTP("HTTP/1.1 200 OK", "", "fine"))
	c.Exchange(2*second, second/10, "a", "10.0.0.1", "10.0.0.2:7071", traffic.HTTP("GET /a|failed HTTP/1.1", "Host: shop", ""), traffic.HTTP("HTTP/1.1 503 Later", "", "no"))
	c.Exchange(3*second, second/10, "b", "10.0.0.1", "10.0.0.3:7072", "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n", "$2\r\nhi\r\n")
	c.Exchange(4*second, second/10, "b", "10.0.0.1", "10.0.0.3:7072", "*2\r\n$3\r\nGET\r\n$4\r\nlist\r\n", "-WRONGTYPE Operation\r\n")
	for _, name := range []string{"a", "b"} {
		c.Close(6*second, name)
	}
	path := filepath.Join(t.TempDir(), "odd.pcap")
	if err := c.Write(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTsharkReadsTheHandoff opens the slice with its profile: columns, names, protocols, the filters of the colours and
// the list, and the fields of the script.
func TestTsharkReadsTheHandoff(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("needs tshark")
	}
	capture, dir := oddPorts(t), filepath.Join(t.TempDir(), "handoff")
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte("10.0.0.2 checkout\n10.0.0.3 cache.example\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bundle := filepath.Join(t.TempDir(), "odd.pcapsule")
	clitest.Done(t, "bundle", capture, "--hosts", hosts, "-o", bundle)
	clitest.Done(t, "wireshark", bundle, "dst.port in [7071, 7072]", "--whole-connections", "--print", "-o", dir)
	profile := filepath.Join(dir, "profiles", "pcapsule")
	tshark := func(args ...string) []string {
		t.Helper()
		c := exec.Command("tshark", append([]string{"-C", "pcapsule", "-r", filepath.Join(dir, "slice.pcapng")}, args...)...)
		c.Env = append(os.Environ(), "WIRESHARK_CONFIG_DIR="+dir)
		var said strings.Builder
		c.Stderr = &said
		out, err := c.Output()
		if text := strings.ReplaceAll(said.String(), `Running as user "root" and group "root". This could be dangerous.`, ""); err != nil || strings.TrimSpace(text) != "" {
			t.Fatalf("tshark %q: %v: %s", args, err, text)
		}
		return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	}
	rows := tshark("-T", "tabs")
	if len(rows) != 20 {
		t.Fatalf("%d packets: %q", len(rows), rows)
	}
	seen := map[string][]string{}
	for _, row := range rows {
		col := strings.Split(row, "\t")
		for i := range col {
			col[i] = strings.TrimSpace(col[i])
		}
		if len(col) != 12 {
			t.Fatalf("columns %q", col)
		}
		outcome := col[9]
		seen[outcome] = append(seen[outcome], strings.Join([]string{col[6], col[2] + " " + col[4], col[5], col[8]}, "|"))
	}
	failed := strings.Join(seen["server_error 503 Later"], "\n")
	if !strings.Contains(failed, "10.0.0.1 → checkout|10.0.0.1 checkout|HTTP|") || !strings.Contains(failed, "http1 GET /a|failed") {
		t.Errorf("rows by outcome: %q", seen)
	}
	if text := strings.Join(seen["client_error WRONGTYPE"], "\n"); !strings.Contains(text, "|RESP|") || !strings.Contains(text, "cache.example") {
		t.Errorf("rows by outcome: %q", seen)
	}
	if len(seen["ok 200 OK"]) == 0 || len(seen["-"]) == 0 {
		t.Errorf("rows by outcome: %q", seen)
	}
	list := func(name, after, end string) (filters []string) {
		data, err := os.ReadFile(filepath.Join(profile, name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			_, filter, _ := strings.Cut(strings.TrimSuffix(line, "\n"), after)
			if end != "" {
				filter = filter[:strings.LastIndex(filter, end)]
			}
			filters = append(filters, filter)
		}
		return filters
	}
	colours, saved := list("colorfilters", "calls@", "@"), list("dfilters", `" `, "")
	if len(colours) != 3 || len(saved) != 5 {
		t.Fatalf("filters %q, %q", colours, saved)
	}
	all := "(" + strings.Join(append(colours, saved...), ") || (") + ")"
	if got := tshark("-Y", all, "-T", "fields", "-e", "frame.number"); len(got) != 20 {
		t.Errorf("%s: frames %q, want all", all, got)
	}
	if got := tshark("-Y", "!("+saved[4]+")"); len(got) != 1 || got[0] != "" {
		t.Errorf("%s leaves out %q", saved[4], got)
	}
	byComment := tshark("-Y", colours[1], "-T", "fields", "-e", "frame.number")
	byField := tshark("-X", "lua_script:"+filepath.Join(profile, "pcapsule.lua"), "-Y", `pcapsule.failed && (pcapsule.outcome contains "503" || pcapsule.outcome contains "WRONGTYPE") && pcapsule.service contains "10.0.0.1" && pcapsule.call contains "GET"`, "-T", "fields", "-e", "frame.number")
	if len(byComment) != 4 || !slices.Equal(byComment, byField) {
		t.Errorf("failed calls: frames %q by comment, %q by field", byComment, byField)
	}
}
