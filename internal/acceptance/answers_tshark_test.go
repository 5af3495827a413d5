package acceptance

import (
	"context"
	"encoding/json"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/failures"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/internal/captures"
)

// withFailures are captures with failed names, and with connections that were reset or refused.
var withFailures = []string{"dns/arkime-dns-update.pcap", "dns/ndpi-dns_long_domainname.pcap", "dns/packetbeat-dns_not_found.pcap", "dns/zeek-dynamic-update.pcap", "dns/zeek-nsec3.pcap",
	"mixed/zeek-nmap-vsn.pcap", "mixed/zeek-var-services-std-ports.pcap", "http1/pcpp-one_http_stream_rst.pcap", "http1/ndpi-WebattackRCE.pcap"}

// TestFailuresAgreeWithTshark asks find_failures which names failed and which connections were reset or refused,
// and reads the same from the packets with tshark.
func TestFailuresAgreeWithTshark(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("needs tshark")
	}
	failed := 0
	for _, name := range withFailures {
		file := filepath.Join(captures.Dir(t), name)
		names, resets := failuresOf(t, file)
		wantNames, wantResets := tsharkFailures(t, file)
		if !maps.Equal(names, wantNames) {
			t.Errorf("%s: failed names %v, tshark: %v", name, names, wantNames)
		}
		if resets != wantResets {
			t.Errorf("%s: %d connections were reset or refused, tshark: %d", name, resets, wantResets)
		}
		failed += len(names) + int(resets)
	}
	if failed < 10 {
		t.Errorf("only %d failures were compared", failed)
	}
}

// failuresOf is what find_failures answers: failed responses by name, and connections.
func failuresOf(t *testing.T, file string) (names map[string]int64, resets int64) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "b.pcapsule")
	if _, err := exporter.Run(context.Background(), []string{file}, dir, exporter.Options{Release: "test"}); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	c, err := forensics.Open(context.Background(), []string{dir}, forensics.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	finding.Bind(c, all.Analyzers())
	questions := all.Questions()
	q := questions[slices.IndexFunc(questions, func(q ask.Question) bool { return q.Name == "find_failures" })]
	v, err := q.AskAll(context.Background(), c, json.RawMessage(`{}`))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	names = map[string]int64{}
	for _, n := range v.(*failures.Answer).DNS {
		if code, _, _ := strings.Cut(n.Status, " "); strings.Trim(code, "0123456789") == "" { // a response, not the lack of one
			names[n.Name+" "+code] += n.Calls
		}
	}
	for _, f := range v.(*failures.Answer).Connections {
		if f.What != "unanswered" {
			resets += f.Connections
		}
	}
	return names, resets
}

func tsharkFailures(t *testing.T, file string) (names map[string]int64, resets int64) {
	t.Helper()
	names = map[string]int64{}
	for _, r := range tsharkRows(t, file, "dns.flags.response == 1 && dns.flags.rcode > 0 && !mdns && !llmnr && !icmp", "dns.qry.name", "dns.flags.rcode") {
		if _, err := strconv.Atoi(r[1]); err == nil {
			names[strings.ToLower(r[0])+" "+r[1]]++
		}
	}
	streams := map[string]bool{}
	for _, r := range tsharkRows(t, file, "tcp.flags.reset == 1 && !icmp", "tcp.stream") {
		streams[r[0]] = true
	}
	return names, int64(len(streams))
}
