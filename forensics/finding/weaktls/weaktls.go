// Package weaktls finds TLS connections with weak protection, by the data in profiles.yaml: SSL,
// TLS 1.0 and 1.1, and suites without encryption, authentication or forward secrecy, with RC4, DES,
// 3DES or export keys.
//
// The server's choice (weak-tls) and a client's offer (weak-tls-offered) are different findings. A
// finding names the published profiles that the handshake breaks.
package weaktls

import (
	"context"
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Analyzer returns the analyzer weak-tls.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "weak-tls", Basis: finding.OfHandshakes, Title: "weak TLS", Kinds: rules().names(),
		Doc:   "Handshakes that negotiated SSL, TLS 1.0 or 1.1, or a suite with NULL, anonymous, export, RC4, DES or 3DES; missing forward secrecy is low. Names the profiles that they break: RFC 8996, RFC 7465, BCP 195, SP 800-52r2, BSI TR-02102-2, Mozilla 5.7.",
		Steps: []finding.Step{{Needs: []finding.Need{finding.Calls("'tls', 'quic'", finding.Any(negotiated))}, Find: find}}}
}

// negotiated is the SQL condition for handshakes whose version and suite are known.
const negotiated = `protocol IN ('tls', 'quic') AND tls_cipher_suite_name IS NOT NULL`

func find(ctx context.Context, l *finding.Look) error {
	// Judge each combination once, then read only the handshakes of weak ones.
	all, err := l.Rows(ctx, `SELECT coalesce(tls_version_name, '') AS detail, tls_cipher_suite_name AS other, count(*) AS count FROM `+l.Calls+` WHERE `+l.Where+` AND `+negotiated+` GROUP BY ALL ORDER BY detail, other`, l.Args...)
	if err != nil {
		return err
	}
	var weak []string
	args := append([]any(nil), l.Args...)
	broken := map[string]int64{}
	total := int64(0)
	for _, r := range all {
		w, profiles := rules().judge(r.Detail, r.Other)
		total += r.Count
		for _, p := range profiles {
			broken[p] += r.Count
		}
		if w != nil {
			weak, args = append(weak, "(?, ?)"), append(args, r.Detail, r.Other)
		}
	}
	noteProfiles(l, total, broken)
	if len(weak) == 0 {
		return nil
	}
	rows, err := l.Rows(ctx, l.Groups("coalesce(tls_version_name, '') AS version, tls_cipher_suite_name AS suite", negotiated+` AND (coalesce(tls_version_name, ''), tls_cipher_suite_name) IN (`+strings.Join(weak, ", ")+`)`)+`
		SELECT src, dst, version AS detail, suite AS other, `+l.Sums()+` FROM g GROUP BY src, dst, version, suite ORDER BY count DESC, src, dst, detail, other`, args...)
	if err != nil {
		return err
	}
	for _, r := range rows {
		w, profiles := rules().judge(r.Detail, r.Other)
		f := finding.Finding{Kind: w.Name, Severity: w.Severity, Confidence: finding.Exact, Evidence: []string{r.Detail + " " + r.Other},
			What: plural.Sprintf("%s and %s negotiated %s %s (%s) in %d {handshake|handshakes}", r.Src, r.Dst, r.Detail, r.Other, w.Name, r.Count)}
		if len(profiles) > 0 {
			f.Evidence = append(f.Evidence, "forbidden by "+strings.Join(profiles, ", "))
		}
		l.Add(r, f)
	}
	return nil
}

// noteProfiles records how many handshakes break each profile.
func noteProfiles(l *finding.Look, total int64, broken map[string]int64) {
	var list []string
	for i := range rules().Profiles {
		if n := broken[rules().Profiles[i].Name]; n > 0 {
			list = append(list, fmt.Sprintf("%s (%d)", rules().Profiles[i].Name, n))
		}
	}
	if len(list) > 0 {
		l.Note("of %d {handshake|handshakes}, some break a profile: %s", total, strings.Join(list, ", "))
	}
}
