package all_test

import (
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
)

// TestNothingToExamine checks over samples that an analyzer with findings has something to
// examine, and that the analyzers of a protocol that a sample lacks have nothing.
func TestNothingToExamine(t *testing.T) {
	for _, a := range all.Analyzers() {
		if a.Basis.What == "" && a.Name != "coverage-gap" {
			t.Errorf("analyzer %s does not say what it examines: set Basis of the finding.Analyzer in its folder below forensics/finding", a.Name)
		}
	}
	lacks := map[string]string{}
	for _, sample := range strings.Fields("shop.pcapng http1.pcapng ntp.pcapng tls.pcapng ldap.pcapng ftp.pcapng ssh.pcapng snmp.pcapng kerberos.pcapng files.pcapng") {
		found := map[string]bool{}
		c := open(t, false, sample)
		for _, s := range run(t, c, all.Analyzers(), finding.In{}).Summary {
			found[s.Finding] = s.Found > 0
			if s.Lacks != "" {
				lacks[sample] += s.Finding + " "
			}
		}
		for _, s := range run(t, c, all.Analyzers(), finding.In{Severity: finding.High}).Summary { // which leaves out most
			if s.Lacks != "" && found[s.Finding] {
				t.Errorf("%s: %s found something, but had no %s to examine", sample, s.Finding, s.Lacks)
			}
		}
	}
	for sample, want := range map[string][]string{"ntp.pcapng": {"weak-tls ", "certificate", "missing-auth", "dns-tunnel", "risky-file"}, "http1.pcapng": {"weak-tls", "dns-failure"}} {
		for _, name := range want {
			if !strings.Contains(lacks[sample], name) {
				t.Errorf("%s: %s has nothing to examine, and the answer does not say it: %s", sample, name, lacks[sample])
			}
		}
	}
	for _, name := range []string{"missing-auth", "dns-tunnel", "plaintext-credentials", "scan"} {
		if strings.Contains(lacks["shop.pcapng"], name) {
			t.Errorf("the shop has nothing for %s to examine", name)
		}
	}
}
