package weaktls

import (
	"context"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Offered returns the analyzer weak-tls-offered.
func Offered() finding.Analyzer {
	return finding.Analyzer{Name: "weak-tls-offered", Basis: finding.OfHandshakes, Title: "weak TLS offered by clients",
		Doc:   "Clients whose hello offers SSL, TLS 1.0 or 1.1, or suites with NULL, anonymous, export, RC4, DES or 3DES, whatever the server chose. SHA-1 and MD5 signatures (RFC 9155) are counted in a note.",
		Steps: []finding.Step{{Needs: []finding.Need{finding.Calls("'tls', 'quic'", finding.Any(offering))}, Find: findOffered}}}
}

// offering is the SQL condition for handshakes whose offers are known.
const offering = `protocol IN ('tls', 'quic') AND tls_cipher_suites IS NOT NULL`

// offer is the SQL for the offers of a hello, as texts with a prefix: v for versions, s for suites,
// g for signature schemes. Without the extension supported_versions only the highest version is
// known.
const offer = `list_transform(coalesce(offered_versions, [CASE client_version WHEN 768 THEN 'SSL 3.0' WHEN 769 THEN 'TLS 1.0' WHEN 770 THEN 'TLS 1.1' WHEN 65279 THEN 'DTLS 1.0' ELSE '' END]), x -> 'v' || x)
	|| list_transform(tls_cipher_suites, x -> 's' || x) || list_transform(coalesce(tls_signature_algorithms, []), x -> 'g' || x)`

// pair is the sum of the weak offers between two ends.
type pair struct {
	row  finding.Row
	weak []string
}

func findOffered(ctx context.Context, l *finding.Look) error {
	key := l.Bundle("call_no")
	rows, err := l.Rows(ctx, `WITH h AS (SELECT `+l.Key()+`, call_id, ts_ns, `+offer+` AS offer
				FROM `+l.Calls+` JOIN (SELECT `+key+`, client_version, offered_versions FROM tls_handshakes_raw) USING (`+key+`) WHERE `+l.Where+` AND `+offering+`),
		r AS (SELECT `+l.Sent()+`, offer, count(*) AS n, min(ts_ns) AS first_ns, max(ts_ns) AS last_ns, `+l.Some()+` FROM h GROUP BY ALL),
		`+l.Names()+`
		SELECT client AS src, dst, offer AS evidence, `+l.Sums()+` FROM (`+l.Named("r")+`)
		GROUP BY ALL ORDER BY count DESC, src, dst, evidence`, l.Args...)
	if err != nil {
		return err
	}
	signatures := int64(0)
	sums := map[[2]string]*pair{}
	var order [][2]string
	for _, r := range rows {
		weak, old := rules().offered(r.Evidence)
		if old {
			signatures += r.Count
		}
		if len(weak) == 0 {
			continue
		}
		k := [2]string{r.Src, r.Dst}
		if sums[k] == nil {
			sums[k] = &pair{row: finding.Row{Src: r.Src, Dst: r.Dst, Via: r.Via, FirstNs: r.FirstNs}}
			order = append(order, k)
		}
		sums[k].add(r, weak)
	}
	for _, k := range order {
		s := sums[k]
		l.Add(s.row, finding.Finding{Severity: finding.Low, Confidence: finding.Exact, Key: "offered", Evidence: s.weak,
			What: plural.Sprintf("%s offers %s to %s in %d {handshake|handshakes}", k[0], strings.Join(s.weak, ", "), k[1], s.row.Count)})
	}
	if signatures > 0 {
		l.Note("%d {client hello offers|client hellos offer} signatures with SHA-1 or MD5, which RFC 9155 forbids in TLS 1.2", signatures)
	}
	return nil
}

// add adds handshakes with the same offer.
func (p *pair) add(r finding.Row, weak []string) {
	p.row.Count += r.Count
	p.row.FirstNs, p.row.LastNs = min(p.row.FirstNs, r.FirstNs), max(p.row.LastNs, r.LastNs)
	p.row.CallIDs = append(p.row.CallIDs, r.CallIDs...)
	for _, w := range weak {
		if !slices.Contains(p.weak, w) {
			p.weak = append(p.weak, w)
		}
	}
}

// offered returns the weaknesses that a hello offers, and whether it offers old signatures.
func (r *ruleSet) offered(hello []string) (weak []string, old bool) {
	for _, x := range hello {
		kind, name := x[0], x[1:]
		if kind == 'g' {
			old = old || matches(r.Signatures, strings.ToLower(name))
			continue
		}
		for i := range r.Weaknesses {
			w := &r.Weaknesses[i]
			hit := kind == 'v' && w.fits(name, "") || kind == 's' && w.fits("", name)
			if hit && w.Offered && !slices.Contains(weak, w.Name) {
				weak = append(weak, w.Name)
			}
		}
	}
	return weak, old
}
