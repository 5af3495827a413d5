package truth

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// TestOtherToolsReadSockets checks that programs that do not know the socket option read a
// recording to its end, and that their copies preserve the option, or lack it in a format
// without options.
func TestOtherToolsReadSockets(t *testing.T) {
	for _, tool := range []string{"tshark", "capinfos", "tcpdump", "editcap", "mergecap"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s: %v", tool, err)
		}
	}
	group := cgroup(t)
	rules := nat("nft add rule ip nat output ip daddr 10.96.0.10 tcp dport 80 dnat to 10.1.1.2:8080")
	s := newStage(t, group, rules...)
	s.net(rules...)
	recorded := record(t, group, func() { s.parts("serve tcp 10.1.1.2:8080 3", "ask tcp 10.96.0.10:80 3 a") })
	want := sockets(t, recorded)
	if !slices.ContainsFunc(want, func(s string) bool { return strings.Contains(s, "10.96.0.10:80") }) {
		t.Fatalf("no packet has its socket's ends: %q", want)
	}

	dir := t.TempDir()
	run := func(name string, args ...string) string {
		t.Helper()
		text, err := exec.Command(name, args...).Output()
		if err != nil {
			t.Errorf("%s %q: %v", name, args, err)
		}
		return string(text)
	}
	copied, merged, plain := filepath.Join(dir, "copied.pcapng"), filepath.Join(dir, "merged.pcapng"), filepath.Join(dir, "plain.pcap")
	run("editcap", recorded, copied)
	run("mergecap", "-w", merged, recorded, copied)
	run("editcap", "-F", "pcap", recorded, plain)
	for _, c := range []struct {
		path  string
		times int // number of copies of each packet
		want  []string
	}{
		{recorded, 1, want},
		{copied, 1, want},
		{merged, 2, slices.Sorted(slices.Values(slices.Concat(want, want)))},
		{plain, 1, make([]string, len(want))},
	} {
		got := sockets(t, c.path)
		if c.times > 1 {
			slices.Sort(got) // packets with equal times have no fixed order
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s has sockets\n%q, want\n%q", filepath.Base(c.path), got, c.want)
		}
		packets := c.times * len(want)
		for tool, n := range map[string]int{
			"tshark":  strings.Count(run("tshark", "-nr", c.path, "-T", "fields", "-e", "frame.number"), "\n"),
			"tcpdump": strings.Count(run("tcpdump", "-nqr", c.path), "\n"),
		} {
			if n != packets {
				t.Errorf("%s read %d packets from %s, want %d", tool, n, filepath.Base(c.path), packets)
			}
		}
		if text := run("capinfos", "-cTr", c.path); !strings.HasSuffix(strings.TrimSpace(text), "\t"+strconv.Itoa(packets)) {
			t.Errorf("capinfos counted %q, want %d", text, packets)
		}
	}
}

// sockets returns the socket options of a file's packets, in order.
func sockets(t *testing.T, path string) (list []string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapng.NewReader(f, pcapng.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b pcapng.Batch
	for {
		end := r.Next(&b)
		for i := range b.Packets {
			list = append(list, socketText(&b.Packets[i]))
		}
		if errors.Is(end, io.EOF) {
			return list
		}
		if end != nil {
			t.Fatal(end)
		}
	}
}

// socketText formats a packet's socket option: its ends and its bytes.
func socketText(p *pcapng.Packet) (text string) {
	s, ok := p.Socket()
	if !ok {
		return ""
	}
	if s.Ends != nil {
		text = s.Ends.Local.String() + " " + s.Ends.Remote.String() + " "
	}
	return fmt.Sprintf("%s%x", text, s.AppendOption(nil))
}
