// Package seal signs bundles and checks their signatures (docs/format/seal.md).
//
// A seal is an in-toto statement in a DSSE envelope, custody/seal-NNN.dsse.json. Its subjects are
// the manifests and the newest line of the custody log; its predicate is an acquisition record: who
// requested the evidence, what was collected, by which program, and what was lost. Sealing never
// changes data/, and checking never writes.
package seal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// Types of the envelope's payload, of the statement (in-toto Attestation Framework v1) and of
// its predicate.
const (
	PayloadType   = "application/vnd.in-toto+json"
	StatementType = "https://in-toto.io/Statement/v1"
	PredicateType = "https://github.com/pcapsule/pcapsule/acquisition/v1"
)

// Events of the custody log. The detail "file" names the file in custody/ that belongs to it.
const (
	EventSealed      = "sealed"
	EventTimestamped = "timestamped"
	EventLogged      = "logged" // by a transparency log
	EventFailed      = "failed" // the file of an earlier entry was not written
)

// ErrSameKey means that one key was passed twice.
var ErrSameKey = errors.New("the same key is given twice")

// maxSeals is the number of seals of one bundle.
const maxSeals = 100

const logName = "custody/log.jsonl"

// Statement is an in-toto statement about a bundle.
type Statement struct {
	Type          string      `json:"_type"`
	Subject       []Subject   `json:"subject"`
	PredicateType string      `json:"predicateType"`
	Predicate     Acquisition `json:"predicate"`
}

// Subject is one signed file, or one signed line of the custody log.
type Subject struct {
	Name   string        `json:"name"`
	Digest SubjectDigest `json:"digest"`
}

// SubjectDigest is the digest set of a subject. It has one algorithm.
type SubjectDigest struct {
	SHA256 bundle.Digest `json:"sha256"`
}

// Sealed is a new seal.
type Sealed struct {
	File      string        `json:"file"` // in the bundle
	Signers   []Party       `json:"signers"`
	Head      bundle.Digest `json:"custody_head"` // that was signed
	Statement Statement     `json:"statement"`
	Log       *Logged       `json:"log,omitempty"` // proof that a transparency log has it
}

// Options are the statements of a seal beyond the bundle.
type Options struct {
	Request Request      // what people know about the acquisition
	Entry   bundle.Entry // who seals, where and with which program; becomes a line of the custody log
	With    Tool         // the program that seals
	Signers []Signer     // each of them signs
	// Commitments are about packets, Tables about the rows of tables, both salted from Seed.Seed. They
	// are signed too, and put into Seed, from which proofs about derived bundles are made. Without
	// Seed there are none.
	Commitments []bundle.Commitment
	Tables      []bundle.TableCommitment
	Seed        *SeedFile
}

// Sign seals the bundle and returns the new seal. A bundle that does not verify is not sealed.
func Sign(ctx context.Context, b *bundle.Bundle, o Options) (*Sealed, error) {
	if len(o.Signers) == 0 {
		return nil, errors.New("sealing: no key")
	}
	entry := o.Entry
	report, err := b.Verify(ctx, nil)
	if err != nil {
		return nil, err
	}
	if err := report.Err(); err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	for _, file := range unfinished(report) {
		// The new seal covers that a crash lost this file.
		if err := fail(b, entry, strings.TrimPrefix(file, "custody/")); err != nil {
			return nil, err
		}
	}
	name, err := nextName(report)
	if err != nil {
		return nil, err
	}
	record := collect(report, o.Request)
	record.SealedWith = o.With
	var ids []string
	for i := range o.Signers {
		party := o.Signers[i].Party
		if slices.Contains(ids, party.KeyID) {
			return nil, fmt.Errorf("sealing with %s: %w", party.KeyID, ErrSameKey)
		}
		record.Signers = append(record.Signers, party)
		ids = append(ids, party.KeyID)
	}
	if o.Seed != nil {
		record.Commitments, record.TableCommitments = o.Commitments, o.Tables
	}
	entry.Event, entry.Time = EventSealed, 0
	entry.Details = map[string]string{"file": "custody/" + name, "keys": strings.Join(ids, " ")}
	written, head, err := b.AppendCustody(entry)
	if err != nil {
		return nil, err
	}
	record.SealedAt = written.Time
	statement := Statement{Type: StatementType, PredicateType: PredicateType, Predicate: record, Subject: []Subject{
		{"tagmanifest-sha256.txt", SubjectDigest{report.TagManifest}},
		{"manifest-sha256.txt", SubjectDigest{report.Manifest}},
		{lineName(written.Seq), SubjectDigest{head}},
	}}
	if o.Seed != nil {
		o.Seed.Commitments, err = signCommitments(ctx, Commitments{record.SealedAt, record.Signers, record.Commitments, record.TableCommitments}, o.Signers)
		if err != nil {
			return nil, errors.Join(err, fail(b, entry, name))
		}
	}
	if err := write(ctx, b, name, statement, o.Signers); err != nil {
		return nil, errors.Join(err, fail(b, entry, name))
	}
	return &Sealed{File: "custody/" + name, Signers: record.Signers, Head: head, Statement: statement}, nil
}

// fail adds an entry saying that a file of an earlier entry does not exist.
func fail(b *bundle.Bundle, entry bundle.Entry, name string) error {
	entry.Event, entry.Time, entry.Details = EventFailed, 0, map[string]string{"file": "custody/" + name}
	_, _, err := b.AppendCustody(entry)
	return err
}

// lineName is the name of a subject that is a line of the custody log. Lines count from 1.
func lineName(seq int64) string { return fmt.Sprintf("%s line %d", logName, seq+1) }

// write signs the statement and puts the envelope into the bundle.
func write(ctx context.Context, b *bundle.Bundle, name string, s Statement, signers []Signer) error {
	data, err := signed(ctx, s, signers)
	if err != nil {
		return err
	}
	return b.AddCustodyFile(name, data)
}

// signed is the envelope of a statement.
func signed(ctx context.Context, statement any, signers []Signer) ([]byte, error) {
	payload, err := json.Marshal(statement)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	var all []dsse.Signer
	for i := range signers {
		all = append(all, &signers[i])
	}
	envelopes, err := dsse.NewEnvelopeSigner(all...)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	e, err := envelopes.SignPayload(ctx, PayloadType, payload)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	data, err := encode(e)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	return data, nil
}

// envelope is a DSSE envelope.
type envelope = dsse.Envelope

// encode is the one way to write an envelope, so that a changed byte is found even if the
// signature still verifies.
func encode(e *dsse.Envelope) ([]byte, error) {
	data, err := json.MarshalIndent(e, "", " ")
	return append(data, '\n'), err
}

// nextName is the name of the next seal. Numbers are never used again, even if somebody removed
// a seal: the custody log has its name.
func nextName(r *bundle.Report) (string, error) {
	used := map[string]bool{}
	for file := range r.CustodyFiles {
		used[file] = true
	}
	for i := range r.Custody {
		used[r.Custody[i].Details["file"]] = true
	}
	for n := range maxSeals {
		if name := fmt.Sprintf("seal-%03d%s", n, sealSuffix); !used["custody/"+name] {
			return name, nil
		}
	}
	return "", fmt.Errorf("sealing: the bundle has %d seals, the maximum", maxSeals)
}

// unfinished returns the files that the custody log names, that do not exist, and whose absence no entry explains.
func unfinished(r *bundle.Report) []string {
	files, _ := absent(r)
	return files
}

// absent returns the files that the custody log names and that do not exist, in two lists: those without a reason, and
// those that an entry reports as failed. Such an entry counts only if it comes before the next seal, because that seal
// covers it. One added later could be an attempt to explain the removal of a seal.
func absent(r *bundle.Report) (unfinished, failed []string) {
	open := []string{} // that an entry can still explain
	for i := range r.Custody {
		e := &r.Custody[i]
		file := e.Details["file"]
		if e.Event == EventFailed {
			if at := slices.Index(open, file); at >= 0 {
				open, failed = slices.Delete(open, at, at+1), append(failed, file)
			}
			continue
		}
		if e.Event == EventSealed {
			unfinished, open = append(unfinished, open...), nil
		}
		if e.Event != EventSealed && e.Event != EventTimestamped && e.Event != EventLogged {
			continue
		}
		if _, exists := r.CustodyFiles[file]; !exists {
			open = append(open, file)
		}
	}
	return append(unfinished, open...), failed
}
