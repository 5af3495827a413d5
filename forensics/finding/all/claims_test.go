package all_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/internal/captures"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// cited is a call that a finding cites, or a flow.
type cited struct {
	ID       string `json:"id"`
	Protocol string `json:"protocol"`
	Src      string `json:"src_who"`
	Dst      string `json:"dst_who"`
	Status   string `json:"status"`
	Outcome  string `json:"outcome"`
	Report   bool   `json:"report"`
	Auth     string `json:"auth"`
	Clear    bool   `json:"clear"`
}

// TestFindingsAgreeWithWhatTheyCite reads the findings of every sample, and of public captures if there are any, and
// compares what each one says with the calls and flows behind it: how many there are, between whom, and how they ended.
func TestFindingsAgreeWithWhatTheyCite(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "samples", "*.pcap*"))
	if err != nil || len(files) < 40 {
		t.Fatalf("%d samples: %v", len(files), err)
	}
	seen := map[string]int{}
	for group := range slices.Chunk(append(nightly.Some(files, 30), someCaptures(t)...), together) {
		for _, f := range findings(t, group) {
			seen[f.Finding]++
		}
	}
	for _, name := range []string{"dns-failure", "no-auth", "plaintext-credentials", "deprecated-protocol", "admin-access"} {
		if seen[name] == 0 {
			t.Errorf("no finding of %s was compared", name)
		}
	}
}

// telling are public captures about which findings once said something wrong.
var telling = []string{"http1/packetbeat-http_realip.pcap", "dns/dpkt-dns_icmp.pcap", "sip/ndpi-sip.pcap", "icmp/tcpdump-icmp-rfc5837.pcap", "postgresql/arkime-postgres-badpass.pcap",
	"quic/ndpi-gquic.pcap", "dns/arkime-dns-update.pcap", "mixed/ipfixprobe-mixed.pcap", "mixed/zeek-var-services-std-ports.pcap", "mixed/ndpi-whatsapp_login_call.pcap"}

// someCaptures are small public captures: the telling ones and one in 60.
func someCaptures(t *testing.T) (out []string) {
	dir := captures.Find()
	if dir == "" {
		return nil
	}
	index, err := os.ReadFile(filepath.Join(dir, "INDEX.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	step := nightly.Of(150, 1)
	for i, line := range strings.Split(strings.TrimSpace(string(index)), "\n")[1:] {
		cells := strings.Split(line, "\t")
		if packets, _ := strconv.Atoi(cells[3]); packets > 0 && packets <= 400 && i%step == 0 {
			out = append(out, filepath.Join(dir, cells[0]))
		}
	}
	for _, name := range telling {
		if path := filepath.Join(dir, name); !slices.Contains(out, path) {
			out = append(out, path)
		}
	}
	return out
}

// together is how many captures are in one bundle: what is asked costs the same for any number of them.
const together = 24

// findings returns the findings of a bundle of captures, after it compared them.
func findings(t *testing.T, files []string) (list []finding.Finding) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "t.pcapsule")
	if _, err := exporter.Run(ctx, files, out, exporter.Options{Release: "test"}); err != nil {
		if len(files) == 1 {
			return nil // such as an empty file
		}
		for _, file := range files {
			list = append(list, findings(t, []string{file})...)
		}
		return list
	}
	c, err := forensics.Open(ctx, []string{out}, forensics.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	finding.Bind(c, all.Analyzers())
	list = find(t, c, finding.In{Scope: ask.Scope{Limit: 1000}})
	for i := range list {
		f := &list[i]
		for _, wrong := range append(wording(f), citations(t, c, f)...) {
			t.Errorf("%s and after it: %s: %s", filepath.Base(files[0]), wrong, f.What)
		}
	}
	return list
}

var (
	plurals = regexp.MustCompile(`\b1 [a-z ]*(calls|times|connections|handshakes|questions|packets|destinations|requests|ports|addresses)\b|\bof 1 (call|time|connection)\b`)
	counted = regexp.MustCompile(`\b(\d+) (calls?|times?|handshakes?)\b`)
	portly  = regexp.MustCompile(` at (icmp|ip|igmp|gre|esp)\b|\b(icmp|ip|igmp)/`)
	stray   = regexp.MustCompile(` [),;]|  `)
	ever    = regexp.MustCompile(`\b(never|always)\b`)
)

// wording returns what is wrong with the words of a finding alone.
func wording(f *finding.Finding) (wrong []string) {
	own := f.What // without what the traffic says
	for _, text := range append([]string{f.Src, f.Dst}, f.Evidence...) {
		if len(text) > 3 {
			own = strings.ReplaceAll(own, text, "X")
		}
	}
	for name, re := range map[string]*regexp.Regexp{"singular and plural": plurals, "a port of a protocol that has none": portly, "a claim about times that nobody recorded": ever, "a stray space": stray} {
		if part := re.FindString(own); part != "" {
			wrong = append(wrong, fmt.Sprintf("%s (%s)", name, part))
		}
	}
	if a, err := netip.ParseAddr(f.Dst); err == nil && (a.IsMulticast() || a.String() == "255.255.255.255") && slices.Contains([]string{"egress", "beacon", "outside-volume", "dns-failure"}, f.Finding) {
		wrong = append(wrong, "a group of receivers is no server")
	}
	return wrong
}

// citations returns what calls and flows say other than their finding.
func citations(t *testing.T, c *forensics.Case, f *finding.Finding) (wrong []string) {
	t.Helper()
	if len(f.CallIDs)+len(f.FlowIDs) == 0 && f.Finding != "coverage-gap" {
		return []string{"nothing is cited"}
	}
	if n := int64(max(len(f.CallIDs), len(f.FlowIDs))); n > f.Count && f.Finding != "egress" && f.Finding != "beacon" && f.Finding != "sensitive-data" {
		wrong = append(wrong, fmt.Sprintf("%d are cited, but it counts %d", n, f.Count))
	}
	if m := counted.FindStringSubmatch(f.What); m != nil && f.KFL != "" && f.Finding != "beacon" {
		r, err := c.Query(ctx, forensics.Query{KFL: f.KFL, Count: true})
		if err != nil || fmt.Sprint(r.Rows[0][0]) != strconv.FormatInt(f.Count, 10) {
			wrong = append(wrong, fmt.Sprintf("%v calls match %s (%v)", r.Rows, f.KFL, err))
		}
		if !strings.Contains(f.What, strconv.FormatInt(f.Count, 10)+" ") {
			wrong = append(wrong, fmt.Sprintf("it counts %d", f.Count))
		}
	}
	for _, x := range read(t, c, "calls", "lower(hex(call_id))", f.CallIDs) {
		wrong = append(wrong, contradicts(f, &x)...)
	}
	for _, x := range read(t, c, "flows", "flow_id::VARCHAR", f.FlowIDs) {
		if !isEnd(f.Src, x.Src) {
			wrong = append(wrong, "flow "+x.ID+" is of the client "+x.Src)
		}
	}
	return wrong
}

// read reads the calls or flows of a list of ids, each of which must be there.
func read(t *testing.T, c *forensics.Case, from, id string, ids []string) []cited {
	t.Helper()
	if len(ids) == 0 {
		return nil
	}
	columns := "protocol, src_who, dst_who, '' AS status, '' AS outcome, '' AS auth, false AS clear, false AS report"
	if from == "calls" {
		columns = "protocol, src_who, dst_who, coalesce(status_text, '') AS status, outcome, coalesce(auth_kind, '') AS auth, decrypted_by IS NULL AS clear, coalesce(protocol = 'icmp' AND " + terms.ICMPErrors + ", false) AS report"
	}
	rows, _, err := ask.Rows[cited](ctx, c, 1000, fmt.Sprintf("SELECT %[1]s AS id, %[2]s FROM %[3]s WHERE %[1]s IN ('%[4]s')", id, columns, from, strings.Join(ids, "', '")))
	if err != nil || len(rows) != len(ids) {
		t.Errorf("%d of %d cited %s were found: %v", len(rows), len(ids), from, err)
	}
	return rows
}

// isEnd reports whether an end of a call is the one that a finding names.
func isEnd(name, who string) bool { return name == "" || name == "(outside)" || name == who }

// contradicts returns how a cited call contradicts its finding.
func contradicts(f *finding.Finding, x *cited) (wrong []string) {
	say := func(format string, args ...any) {
		wrong = append(wrong, fmt.Sprintf("call %.8s ", x.ID)+fmt.Sprintf(format, args...))
	}
	one := !strings.Contains(f.What, " outside destination") // else it is about many servers
	switch named := f.Finding == "egress" || f.Finding == "beacon"; {
	case !isEnd(f.Src, x.Src):
		say("is of the client %s", x.Src)
	case one && !named && !isEnd(f.Dst, x.Dst):
		say("is to the server %s", x.Dst)
	}
	has := func(text string) bool { return strings.Contains(f.What, text) }
	switch {
	case (has("none was answered") || has("none was accepted")) && (x.Outcome == "ok" || x.Outcome == "cut"):
		say("ended with %s", x.Outcome)
	case f.Finding == "dns-failure" && f.Kind == "no_response" && x.Outcome != "no_answer":
		say("ended with %s", x.Outcome)
	case f.Finding == "dns-failure" && f.Kind != "no_response" && x.Status != f.Kind:
		say("has the status %s", x.Status)
	case has("succeeded without") && x.Outcome != "ok":
		say("ended with %s", x.Outcome)
	case f.Finding == "egress" && x.Report:
		say("is a report about other traffic")
	case has("without encryption") && !x.Clear:
		say("was encrypted")
	case f.Finding == "plaintext-credentials" && has("sends credentials") && x.Auth != f.Kind:
		say("has the credentials %q", x.Auth)
	case f.Finding == "no-auth" && x.Auth != "" && !slices.Contains([]string{"trust", "anonymous", "none", "sys"}, x.Auth):
		say("has the credentials %q", x.Auth)
	case f.Finding == "forwarded-token" && x.Src == x.Dst:
		say("goes from one workload to itself")
	}
	return wrong
}
