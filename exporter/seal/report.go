package seal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// ReportType is the predicate of a statement about a report.
const ReportType = "https://github.com/pcapsule/pcapsule/report/v1"

// ReportStatement is an in-toto statement about a report. Its first subject is the report's file, the
// others are the tagmanifests of its bundles, which the seals of these bundles have as subjects too.
type ReportStatement struct {
	Type          string       `json:"_type"`
	Subject       []Subject    `json:"subject"`
	PredicateType string       `json:"predicateType"`
	Predicate     ReportRecord `json:"predicate"`
}

// ReportRecord is the predicate of a statement about a report.
type ReportRecord struct {
	SignedAt   bundle.Time `json:"signed_at"` // by the clock of the machine that signed
	Signers    []Party     `json:"signers"`
	Role       string      `json:"role,omitempty"` // in which they sign
	SignedWith Tool        `json:"signed_with"`    // the program that checked the report and signed it
	Title      string      `json:"title"`
	Kind       string      `json:"kind"` // title of its template
	Release    string      `json:"release,omitempty"`
}

// ReportSubjects are the subjects of a statement about a report: its file, and the tagmanifest of each
// bundle. Names are for readers; only digests are compared.
func ReportSubjects(file string, sum bundle.Digest, bundles []string, tagManifests []bundle.Digest) []Subject {
	out := []Subject{{file, SubjectDigest{sum}}}
	for i, d := range tagManifests {
		out = append(out, Subject{bundles[i] + "/tagmanifest-sha256.txt", SubjectDigest{d}})
	}
	return out
}

// SignReport signs a report that was checked, and returns the envelope. r has no signers yet.
func SignReport(ctx context.Context, subjects []Subject, r ReportRecord, signers []Signer) ([]byte, error) {
	if len(signers) == 0 {
		return nil, errors.New("signing a report: no key")
	}
	r.Signers = nil
	for i := range signers {
		p := signers[i].Party
		if slices.ContainsFunc(r.Signers, func(other Party) bool { return other.KeyID == p.KeyID }) {
			return nil, fmt.Errorf("signing a report with %s: %w", p.KeyID, ErrSameKey)
		}
		r.Signers = append(r.Signers, p)
	}
	return signed(ctx, ReportStatement{StatementType, subjects, ReportType, r}, signers)
}

// ReportEnvelope is an envelope of a report, and the name of its file.
type ReportEnvelope struct {
	Place string
	Text  []byte
}

// CheckReport checks the envelopes of a report. subjects are those of the file and the bundles that the
// reader has. It returns one verdict for each signature.
func CheckReport(ctx context.Context, envelopes []ReportEnvelope, subjects []Subject, trust Trust) []Verdict {
	c := &checker{ctx: ctx, trust: trust, signed: map[string]bool{}}
	for _, e := range envelopes {
		c.ofReport(e.Place, e.Text, subjects)
	}
	c.missing("this report")
	return c.verdicts
}

// ofReport checks one envelope of a report.
func (c *checker) ofReport(place string, envelope []byte, subjects []Subject) {
	e, payload, err := parseEnvelope(envelope)
	var s ReportStatement
	if err == nil {
		if err = json.Unmarshal(payload, &s); err != nil {
			err = fmt.Errorf("not an in-toto statement: %w", err)
		}
	}
	switch {
	case err != nil:
	case s.Type != StatementType || s.PredicateType != ReportType:
		err = fmt.Errorf("a statement %q with predicate %q, not one about a report", s.Type, s.PredicateType)
	case len(s.Subject) != len(subjects):
		err = fmt.Errorf("%d subjects instead of %d", len(s.Subject), len(subjects))
	default:
		for i := range subjects {
			if s.Subject[i].Digest != subjects[i].Digest {
				err = fmt.Errorf("it is about another file: its %s has SHA-256 %s, not %s", s.Subject[i].Name, s.Subject[i].Digest.SHA256, subjects[i].Digest.SHA256)
				break
			}
		}
	}
	if err != nil {
		c.add("signature", No, place, err.Error())
		return
	}
	before := len(c.verdicts)
	c.signatures("signature", place, e, s.Predicate.Signers)
	for i := range c.verdicts[before:] {
		if v := &c.verdicts[before+i]; s.Predicate.Role != "" {
			v.Detail = "as " + s.Predicate.Role + ": " + v.Detail
		}
	}
}

// missing adds a verdict for each trusted key that did not sign.
func (c *checker) missing(what string) {
	if c.trust.Redacted && len(c.trust.Signers) > 0 && !slices.ContainsFunc(c.trust.Signers, func(p Party) bool { return c.signed[p.KeyID] }) {
		c.add("signature", No, "", "none of the given keys signed this redaction: nobody that you trust states what was changed in it")
	}
	for i := range c.trust.Signers {
		if p := &c.trust.Signers[i]; !c.signed[p.KeyID] && !c.trust.Committed[p.KeyID] {
			c.add("signature", No, "", p.String()+" did not sign "+what)
		}
	}
}
