// Package dnstunnel finds data that is sent out in DNS names, or comes in as texts of answers.
//
// It looks for a client and a registered domain with many different long names whose labels look
// like encoded data. Names of content networks and service discovery are also long, but few and
// repeated, and those of hosts and block lists have labels in common, so a label counts once.
// Names without a known top-level domain and with few others below their domain are examined
// together. Reverse look-ups and names of the cluster are ignored.
package dnstunnel

import (
	"context"
	"fmt"
	"math"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Thresholds above which names count as data.
const (
	manyNames = 20  // different names below one domain
	longNames = 24  // mean bytes before the domain, without repeated labels
	variety   = 3.0 // bits of entropy per character

	manyTexts = 8   // different names below one domain whose answers are texts
	longTexts = 200 // bytes of such a response; those of block lists and of mail (SPF, DKIM) are shorter, or few
)

// Analyzer returns the analyzer dns-tunnel.
func Analyzer() finding.Analyzer {
	return finding.Analyzer{Name: "dns-tunnel", Techniques: []string{"T1071.004", "T1048.003"}, Basis: finding.OfDNS, Title: "data in DNS names",
		Doc:   "At least 20 different names from one client below one domain, or without a known top-level domain, that look like encoded data: 24 or more bytes before the domain on average, each label counted once. Says how many questions ask for TXT or NULL. Also, at least 8 different names below one domain whose answers are texts (TXT or NULL) of 200 or more bytes, as programs and commands that come in have.",
		Steps: []finding.Step{{Needs: []finding.Need{finding.Calls("'dns'", finding.AtLeast(manyNames, examined))}, Find: find}, {Needs: []finding.Need{finding.Calls("'dns'", finding.AtLeast(manyTexts, texts))}, Find: received}}}
}

// examined is the SQL condition for questions that may carry data: those for names that are not short, and not of the cluster.
const examined = `protocol = 'dns' AND length(dns_questions[1]) > 12 AND NOT regexp_matches(lower(dns_questions[1]), '\.(arpa|local|internal|localhost|lan)$|\.svc(\.|$)')`

// texts is the SQL condition for answers that are long texts.
var texts = fmt.Sprintf(`protocol = 'dns' AND dns_question_types[1] IN ('TXT', 'NULL') AND outcome = 'ok' AND response_bytes >= %d AND NOT regexp_matches(lower(dns_questions[1]), '\.(arpa|local|internal|localhost|lan)$|(^|\.)_')`, longTexts)

// unknown stands for the domain of names without a known top-level domain, as a tunnel to a server that the client reaches
// directly has.
const unknown = "(no known domain)"

// sum summarizes the questions of one client below one domain.
type sum struct {
	row    finding.Row
	names  map[string]bool
	labels map[string]bool // before the domain
	bytes  int64           // of labels
	counts [256]int64
	types  map[string]int64
}

// add adds questions for a name, with the part of it before the domain.
func (s *sum) add(r *finding.Row, typ, before string) {
	s.types[typ] += r.Count
	s.row.Count += r.Count
	s.row.LastNs = max(s.row.LastNs, r.LastNs)
	s.row.Dst = min(s.row.Dst, r.Dst)
	s.row.CallIDs = append(s.row.CallIDs, r.CallIDs...)
	if s.names[r.Detail] {
		return
	}
	s.names[r.Detail] = true
	if len(s.row.Evidence) < 3 {
		s.row.Evidence = append(s.row.Evidence, r.Detail)
	}
	for label := range strings.SplitSeq(before, ".") {
		if s.labels[label] {
			continue
		}
		s.labels[label] = true
		s.bytes += int64(len(label))
		for i := range len(label) {
			s.counts[label[i]]++
		}
	}
}

// mean is how many bytes of labels each name adds.
func (s *sum) mean() float64 { return float64(s.bytes) / float64(len(s.names)) }

// sent reports whether the names look like data that is sent out.
func (s *sum) sent() bool {
	return len(s.names) >= manyNames && s.mean() >= longNames && bits(&s.counts) >= variety
}

// split returns the domain of a name, what is before it, and whether its top-level domain is known. domain is
// empty for a domain itself.
func split(name string) (before, domain string, known bool) {
	suffix, listed := publicsuffix.PublicSuffix(name)
	known = listed || strings.Contains(suffix, ".")
	domain, err := publicsuffix.EffectiveTLDPlusOne(name)
	switch {
	case err == nil && len(domain) < len(name):
		return strings.TrimSuffix(name, "."+domain), domain, known
	case known:
		return "", "", known
	}
	return "", name, known
}

func find(ctx context.Context, l *finding.Look) error {
	type row struct {
		finding.Row
		Type string `json:"type"`
	}
	rows, more, err := ask.Rows[row](ctx, l.Case, 500_000, l.Groups("lower(dns_questions[1]) AS name, coalesce(dns_question_types[1], '') AS type", examined)+
		` SELECT src, dst, name AS detail, type, `+l.Sums()+`
		FROM g GROUP BY src, dst, name, type ORDER BY first_ns, src, dst, name, type`, l.Args...)
	if err != nil {
		return err
	}
	if more {
		l.Note("more than 500,000 different names; the rest was not examined")
	}
	sums := map[[2]string]*sum{}
	var order [][2]string
	add := func(r *row, domain, before string) {
		k := [2]string{r.Src, domain}
		s := sums[k]
		if s == nil {
			s = &sum{row: finding.Row{Src: r.Src, Dst: r.Dst, FirstNs: r.FirstNs}, names: map[string]bool{}, labels: map[string]bool{}, types: map[string]int64{}}
			sums[k] = s
			order = append(order, k)
		}
		s.add(&r.Row, r.Type, before)
	}
	for i := range rows {
		if before, domain, _ := split(rows[i].Detail); domain != "" {
			add(&rows[i], domain, before)
		}
	}
	for i := range rows {
		r := &rows[i]
		if _, domain, known := split(r.Detail); !known && len(sums[[2]string{r.Src, domain}].names) < manyNames {
			add(r, unknown, r.Detail)
		}
	}
	for _, k := range order {
		s := sums[k]
		odd := s.types["TXT"] + s.types["NULL"]
		if !s.sent() {
			continue
		}
		f := finding.Finding{Severity: finding.High, Confidence: finding.Likely, Key: k[1],
			What: plural.Sprintf("%s asks for %d {different name|different names} below %s with %.0f bytes of new labels on average, %.1f bits per character: up to %d bytes sent out in %d {question|questions}, %d of them for TXT or NULL",
				k[0], len(s.names), k[1], s.mean(), bits(&s.counts), s.bytes, s.row.Count, odd)}
		l.Add(s.row, f)
	}
	return nil
}

// received finds data that comes in as texts.
func received(ctx context.Context, l *finding.Look) error {
	type row struct {
		finding.Row
		Bytes int64 `json:"bytes"`
	}
	rows, more, err := ask.Rows[row](ctx, l.Case, 500_000, l.Groups("lower(dns_questions[1]) AS name, response_bytes AS size", texts)+
		` SELECT src, dst, name AS detail, max(size)::BIGINT AS bytes, `+l.Sums()+` FROM g GROUP BY src, dst, name ORDER BY first_ns, src, dst, name`, l.Args...)
	if err != nil {
		return err
	}
	if more {
		l.Note("more than 500,000 different names with texts; the rest was not examined")
	}
	sums := map[[2]string]*sum{}
	var order [][2]string
	for i := range rows {
		r := &rows[i]
		before, domain, _ := split(r.Detail)
		if domain == "" {
			continue
		}
		k := [2]string{r.Src, domain}
		s := sums[k]
		if s == nil {
			s = &sum{row: finding.Row{Src: r.Src, Dst: r.Dst, FirstNs: r.FirstNs}, names: map[string]bool{}, labels: map[string]bool{}, types: map[string]int64{}}
			sums[k], order = s, append(order, k)
		}
		if !s.names[r.Detail] {
			s.types["bytes"] += r.Bytes
		}
		s.add(&r.Row, "TXT", before)
	}
	for _, k := range order {
		if s := sums[k]; len(s.names) >= manyTexts && !s.sent() { // else it is one finding already
			l.Add(s.row, finding.Finding{Severity: finding.Medium, Confidence: finding.Likely, Key: k[1] + "\x00texts", Techniques: []string{"T1071.004"},
				What: plural.Sprintf("%s got long texts for %d {name|names} below %s: %d bytes of responses of DNS, as programs and commands that come in by it are", k[0], len(s.names), k[1], s.types["bytes"])})
		}
	}
	return nil
}

// bits is the Shannon entropy in bits per character.
func bits(counts *[256]int64) float64 {
	var all, sum float64
	for _, n := range counts {
		all += float64(n)
	}
	for _, n := range counts {
		if n > 0 {
			p := float64(n) / all
			sum -= p * math.Log2(p)
		}
	}
	return sum
}
