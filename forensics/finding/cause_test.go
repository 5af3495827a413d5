package finding

import (
	"fmt"
	"slices"
	"testing"
)

func TestCauses(t *testing.T) {
	o := Out{Summary: []Summary{{Finding: "dns-failure", Title: "failed DNS look-ups"}}}
	o.Findings = append(o.Findings, Finding{ID: "weak-tls/1", Finding: "weak-tls", Severity: High, Confidence: Exact, Count: 2, First: "2", Last: "3"})
	for i := range 44 {
		o.Findings = append(o.Findings, Finding{ID: fmt.Sprintf("dns-failure/%d", i), Finding: "dns-failure", Kind: "NXDOMAIN", Severity: Low, Confidence: Exact, Count: 1, First: fmt.Sprintf("1%02d", i), Last: fmt.Sprintf("2%02d", i)})
	}
	o.Findings[3].Confidence = Guess
	o.Findings = append(o.Findings, Finding{ID: "dns-failure/x", Finding: "dns-failure", Kind: "NXDOMAIN", Severity: Low, Accepted: &Acceptance{Reason: "known"}})
	got := o.Causes()
	if len(got) != 3 {
		t.Fatalf("%d causes, want 3: weak TLS, names that do not resolve, and one that was accepted", len(got))
	}
	c := got[1]
	if len(c.Findings) != 44 || c.Count != 44 || c.First != "100" || c.Last != "243" || c.Confidence != Guess || c.Title != "failed DNS look-ups" {
		t.Errorf("%+v", c)
	}
	if ids := c.IDs(2); !slices.Equal(ids, []string{"dns-failure/0", "dns-failure/1", "and 42 more"}) {
		t.Errorf("%q", ids)
	}
	if got[2].Findings[0].Accepted == nil {
		t.Error("an accepted finding is in the cause of open ones")
	}
}
