package seal

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"golang.org/x/mod/sumdb/note"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// State is the outcome of one check.
type State string

// The states of a check.
const (
	Yes        State = "yes"         // true
	No         State = "no"          // false: the bundle does not verify
	NotChecked State = "not_checked" // neither: what it needs was not given or does not exist
)

// Verdict is one check of a bundle with its outcome.
type Verdict struct {
	Check  string `json:"check"` // files, hashes, custody, signature, timestamp, log, ring, losses, programs, tables
	State  State  `json:"state"`
	Place  string `json:"place,omitempty"` // file in the bundle
	Detail string `json:"detail,omitempty"`
}

// Trust lists the keys that a reader trusts, because nothing in a bundle can vouch for itself.
type Trust struct {
	Signers     []Party             // each of them must have signed: the bundle, or the commitments of its original
	Authorities *x509.CertPool      // of time stamps; nil: none was given
	Roots       *x509.CertPool      // to one of which the certificates of Signers must lead; nil: none was given
	Between     []*x509.Certificate // certificates that were given: intermediate ones, issuers of Revoked
	Revoked     []*x509.RevocationList
	Now         time.Time       // when the reader checks; zero: now
	Logs        []note.Verifier // of transparency logs, one of which must have a seal; nil: none was given
	Committed   map[string]bool // keys of Signers that signed commitments; CheckCommitments fills it in
	Redacted    bool            // the bundle is a redaction, which one of Signers must have signed
}

// Check checks the seals, time stamps and proofs of logs of a bundle that was verified. It returns
// one verdict for each of them and each signature, in the order of their names.
func Check(ctx context.Context, r *bundle.Report, trust Trust) []Verdict {
	verdicts, _ := CheckSigned(ctx, r, trust)
	return verdicts
}

// CheckSigned is Check that also returns the signatures of those seals of which each signature verifies.
func CheckSigned(ctx context.Context, r *bundle.Report, trust Trust) ([]Verdict, []Signed) {
	c := &checker{ctx: ctx, report: r, trust: trust, signed: map[string]bool{}}
	for _, file := range slices.Sorted(maps.Keys(r.CustodyFiles)) {
		switch {
		case strings.HasSuffix(file, sealSuffix):
			c.seal(file, r.CustodyFiles[file])
		case strings.HasSuffix(file, stampSuffix):
			c.timestamp(file, r.CustodyFiles[file])
		case strings.HasSuffix(file, proofSuffix):
			c.logged(file, r.CustodyFiles[file])
		default:
			c.add("signature", No, file, "this is not the name of a seal, time stamp or log proof")
		}
	}
	missing, failed := absent(r)
	for _, file := range missing {
		c.add("signature", No, file, "the custody log has this file, but it is missing")
	}
	for _, file := range failed {
		c.add("signature", NotChecked, file, "the custody log says that this file could not be written")
	}
	c.missing("this bundle")
	if trust.Authorities != nil && !c.stamped {
		c.add("timestamp", No, "", "no time stamp is by an authority that you gave")
	}
	if len(trust.Logs) > 0 && !c.inLog {
		c.add("log", No, "", "no seal is in a log whose key you gave")
	}
	if len(c.verdicts) == 0 {
		c.add("signature", NotChecked, "", "the bundle is not sealed, so bag-info.txt and the last custody entry can be changed unnoticed")
	}
	return c.verdicts, c.valid
}

type checker struct {
	ctx      context.Context
	report   *bundle.Report
	trust    Trust
	signed   map[string]bool // by key id: a key that the reader trusts signed
	stamped  bool            // an authority that the reader trusts stamped
	inLog    bool            // a log that the reader trusts has a seal
	valid    []Signed        // signatures of seals of which each signature verifies
	at       time.Time       // when the seal in hand was made
	proved   bool            // a time stamp that the reader trusts says so
	line     int64           // of the custody log, that the seal in hand covers; 0: it is no seal of a bundle
	verdicts []Verdict
}

func (c *checker) add(check string, s State, place, detail string) {
	c.verdicts = append(c.verdicts, Verdict{check, s, place, detail})
}

// seal checks one envelope.
func (c *checker) seal(file string, data []byte) {
	envelope, statement, err := parse(data)
	if err == nil {
		err = c.covers(file, statement)
	}
	if err == nil && c.report.Content != nil {
		err = repeats(statement.Predicate, c.report)
	}
	if err != nil {
		c.add("signature", No, file, err.Error())
		return
	}
	c.at, c.proved = c.made(file, statement)
	_, _ = fmt.Sscanf(statement.Subject[2].Name, logName+" line %d", &c.line) // covers has compared it
	c.signatures("signature", file, envelope, statement.Predicate.Signers)
	c.line = 0
}

// signatures checks that an envelope has the signature of each declared signer, and no other.
func (c *checker) signatures(check, file string, envelope *dsse.Envelope, signers []Party) {
	known := map[string]*Party{}
	for i := range signers {
		declared := &signers[i]
		p, err := ParsePublic(declared.Name, []byte(declared.PublicKey))
		if err != nil || p.KeyID != declared.KeyID || p.Algorithm != declared.Algorithm {
			c.add(check, No, file, "the public key of "+declared.KeyID+" does not fit its description")
			return
		}
		if known[p.KeyID] != nil {
			c.add(check, No, file, p.KeyID+" is listed twice")
			return
		}
		known[p.KeyID] = &p
	}
	for _, s := range envelope.Signatures {
		if known[s.KeyID] == nil {
			c.add(check, No, file, "a signature by "+s.KeyID+", which the record does not list")
			return
		}
	}
	if len(known) == 0 || len(envelope.Signatures) != len(known) {
		c.add(check, No, file, fmt.Sprintf("%d signatures of %d signers", len(envelope.Signatures), len(known)))
		return
	}
	before := len(c.verdicts)
	for i := range signers {
		c.signature(check, file, envelope, known[signers[i].KeyID])
	}
	if c.line == 0 || slices.ContainsFunc(c.verdicts[before:], func(v Verdict) bool { return v.State == No }) {
		return
	}
	for i := range signers {
		p := known[signers[i].KeyID]
		c.valid = append(c.valid, Signed{file, *p, c.signed[p.KeyID], c.line, int64(len(c.report.Custody))})
	}
}

// signature checks the signature of one signer.
func (c *checker) signature(check, file string, e *dsse.Envelope, p *Party) {
	v, err := dsse.NewEnvelopeVerifier(verifier{p})
	if err == nil {
		_, err = v.Verify(c.ctx, e)
	}
	if err != nil {
		c.add(check, No, file, "the signature of "+p.String()+" is wrong")
		return
	}
	text := "signed by " + p.String()
	if c.line > 0 {
		signed := Signed{file, *p, c.trusted(p), c.line, int64(len(c.report.Custody))}
		text = signed.String()
	} else if c.trusted(p) {
		text += ", a key that you gave"
	}
	if c.trusted(p) {
		c.signed[p.KeyID] = true
		state, detail := Yes, ""
		if c.line > 0 {
			state, detail = c.trust.certificate(p, c.at, c.proved)
		}
		if state == Yes {
			c.add(check, Yes, file, text+detail)
		} else {
			c.add(check, state, file, detail)
		}
		return
	}
	c.add(check, NotChecked, file, text+"; compare this fingerprint, or give the key with --signer")
}

// trusted reports whether the reader gave a key.
func (c *checker) trusted(p *Party) bool {
	return slices.ContainsFunc(c.trust.Signers, func(t Party) bool { return t.KeyID == p.KeyID && t.PublicKey == p.PublicKey })
}

// parse reads a seal.
func parse(data []byte) (*dsse.Envelope, *Statement, error) {
	e, payload, err := parseEnvelope(data)
	if err != nil {
		return nil, nil, err
	}
	var s Statement
	if err := json.Unmarshal(payload, &s); err != nil {
		return nil, nil, fmt.Errorf("not an in-toto statement: %w", err)
	}
	if s.Type != StatementType || s.PredicateType != PredicateType {
		return nil, nil, fmt.Errorf("a statement %q with predicate %q, which this release does not know", s.Type, s.PredicateType)
	}
	return e, &s, nil
}

// parseEnvelope reads an envelope that this program wrote. Any other spelling of the same content
// is refused, so that each changed byte is found.
func parseEnvelope(data []byte) (*dsse.Envelope, []byte, error) {
	var e dsse.Envelope
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, nil, fmt.Errorf("not a DSSE envelope: %w", err)
	}
	payload, err := e.DecodeB64Payload()
	if err != nil {
		return nil, nil, fmt.Errorf("not a DSSE envelope: %w", err)
	}
	if same, err := encode(&e); err != nil || !bytes.Equal(same, data) || base64.StdEncoding.EncodeToString(payload) != e.Payload {
		return nil, nil, errors.New("the file was written again or changed")
	}
	for _, s := range e.Signatures {
		if sig, err := base64.StdEncoding.DecodeString(s.Sig); err != nil || base64.StdEncoding.EncodeToString(sig) != s.Sig {
			return nil, nil, errors.New("a signature is not in base64")
		}
	}
	if err := spelled(payload); err != nil {
		return nil, nil, err
	}
	if e.PayloadType != PayloadType {
		return nil, nil, fmt.Errorf("payload type %q instead of %s", e.PayloadType, PayloadType)
	}
	return &e, payload, nil
}

// spelled checks that every reader of a statement reads the same: its keys are unique, and those that other
// verifiers look for have no other letters' case, which Go's reader would accept.
func spelled(payload []byte) error {
	if err := bundle.UniqueKeys(payload); err != nil {
		return fmt.Errorf("the statement is ambiguous: %w", err)
	}
	var top map[string]json.RawMessage
	if err := json.Unmarshal(payload, &top); err != nil {
		return fmt.Errorf("not an in-toto statement: %w", err)
	}
	for _, key := range []string{"_type", "subject", "predicateType", "predicate"} {
		if top[key] == nil {
			return fmt.Errorf("not an in-toto statement: no %s", key)
		}
	}
	var subjects []Subject
	if err := json.Unmarshal(top["subject"], &subjects); err != nil {
		return fmt.Errorf("not an in-toto statement: %w", err)
	}
	if same, err := json.Marshal(subjects); err != nil || !bytes.Equal(same, top["subject"]) {
		return errors.New("the subjects are not spelled as pcapsule writes them")
	}
	return nil
}

// covers compares the subjects of a seal with the bundle.
func (c *checker) covers(file string, s *Statement) error {
	if len(s.Subject) != 3 {
		return fmt.Errorf("%d subjects instead of 3", len(s.Subject))
	}
	for i, want := range []Subject{{"tagmanifest-sha256.txt", SubjectDigest{c.report.TagManifest}}, {"manifest-sha256.txt", SubjectDigest{c.report.Manifest}}} {
		if s.Subject[i] != want {
			return fmt.Errorf("it seals another bundle: its %s is %s, not %s", s.Subject[i].Name, s.Subject[i].Digest.SHA256, want.Digest.SHA256)
		}
	}
	line := s.Subject[2]
	for seq := range c.report.CustodyLines {
		if lineName(int64(seq)) != line.Name {
			continue
		}
		entry := &c.report.Custody[seq]
		switch {
		case c.report.CustodyLines[seq] != line.Digest.SHA256:
			return fmt.Errorf("%s was changed after the seal", line.Name)
		case entry.Event != EventSealed || entry.Details["file"] != file:
			return fmt.Errorf("the seal belongs to %s", entry.Details["file"])
		}
		return nil
	}
	return fmt.Errorf("the custody log was cut: %s is missing", line.Name)
}
