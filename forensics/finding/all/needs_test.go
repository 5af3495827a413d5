package all_test

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
	"github.com/pcapsule/pcapsule/internal/nightly"
)

// never is a need that does not hold.
var never = finding.Need{Table: "clocks", Have: "count(*) < 0"}

// TestNeedsHideNothing compares the answers about samples with those for which every step of the analyzers runs, in all of
// the recording, in a part of it, and with a filter. It checks that the comparison notices a need that hides something.
func TestNeedsHideNothing(t *testing.T) {
	t.Parallel()
	noticed, noting := map[string]bool{}, strings.Fields("egress network-policy segmentation weak-tls") // these have notes without findings
	narrow := []finding.In{{Allow: []string{"192.0.2.1", "a->b"}}, {Scope: ask.Scope{From: "1s"}}, {Scope: ask.Scope{KFL: "http && !failed"}}, {Service: "payment"}}
	for sample, questions := range map[string][]finding.In{"shop.pcapng": append(narrow, finding.In{}), "proxy.pcapng": narrow[:2], "tls.pcapng": {{}}, "dns.pcap": {{}}, "files.pcapng": {{}}, "ssh.pcapng": {{}}, "ldap.pcapng": {{}}, "snmp.pcapng": {{}}} {
		c := open(t, sample == "shop.pcapng", sample)
		for _, in := range nightly.Some(questions, 1) {
			if hidden := differs(t, c, all.Analyzers(), in); hidden != "" {
				t.Errorf("%s, %+v: %s", sample, in, hidden)
			}
		}
		found := map[string]bool{}
		for _, f := range run(t, c, all.Analyzers(), finding.In{Scope: ask.Scope{Limit: 1000}}).Findings {
			found[f.Finding] = true
		}
		for _, a := range all.Analyzers() {
			if noticed[a.Name] || !slices.ContainsFunc(a.Steps, func(s finding.Step) bool { return s.Needs != nil }) || !found[a.Name] && !slices.Contains(noting, a.Name) {
				continue
			}
			for i, s := range a.Steps {
				hiding := a
				hiding.Steps = slices.Clone(a.Steps)
				hiding.Steps[i].Needs = []finding.Need{never}
				if s.Needs != nil && !noticed[a.Name] && differs(t, c, []finding.Analyzer{hiding}, finding.In{}) != "" {
					noticed[a.Name] = true
				}
			}
		}
	}
	// The others find something in made traffic only.
	want := strings.Fields("admin-access certificate default-login deprecated-protocol dns-failure egress forwarded-token network-policy no-auth plaintext-credentials risky-file segmentation weak-tls weak-tls-offered")
	if got := slices.Sorted(maps.Keys(noticed)); !slices.Equal(got, want) {
		t.Errorf("needs that hide something are noticed of %q, want %q", got, want)
	}
}

// TestFewQueries bounds the number of queries of list_findings. Each takes milliseconds on any bundle, so an analyzer must
// not run one to learn that there is nothing for it: see finding.Need.
func TestFewQueries(t *testing.T) {
	for _, tt := range []struct {
		sample string
		most   int64
		of     []string
	}{
		{"dns.pcap", 4, nil},
		{"http1.pcapng", 9, nil},
		{"shop.pcapng", 19, nil},
		{"shop.pcapng", 4, []string{"beacon", "brute-force", "scan", "dns-tunnel", "outside-volume", "risky-file"}},
	} {
		var n atomic.Int64
		c := openAs(t, forensics.Options{Watch: func(string) { n.Add(1) }}, tt.sample)
		run(t, c, all.Analyzers(), finding.In{Names: tt.of})
		if got := n.Load(); got > tt.most || got < 1 {
			t.Errorf("%s %q: %d queries, 1 to %d are expected", tt.sample, tt.of, got, tt.most)
		}
	}
}
