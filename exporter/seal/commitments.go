package seal

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/internal/whole"
)

// CommitmentsType is the predicate type of the statement in a seed file.
const CommitmentsType = "https://github.com/pcapsule/pcapsule/commitments/v2"

// firstCommitmentsType was the type of commitments whose salts follow from the keys of unchanged packets.
const firstCommitmentsType = "https://github.com/pcapsule/pcapsule/commitments/v1"

// maxSeedFile is the size of a seed file.
const maxSeedFile = 16 << 20

// Commitments are a seal's statements about packets and rows that do not show them. They have no
// hash of a file, because it would confirm guesses of a short secret.
type Commitments struct {
	SealedAt bundle.Time              `json:"sealed_at"`
	Signers  []Party                  `json:"signers"`
	Files    []bundle.Commitment      `json:"files"`
	Tables   []bundle.TableCommitment `json:"tables,omitempty"`
}

// commitmentStatement is the in-toto statement that is signed.
type commitmentStatement struct {
	Type          string      `json:"_type"`
	Subject       []Subject   `json:"subject"`
	PredicateType string      `json:"predicateType"`
	Predicate     Commitments `json:"predicate"`
}

// SeedFile is the file of a seal outside the bundle: the secret of the salts, and the signed
// commitments, which a derived bundle carries.
type SeedFile struct {
	Seed        [32]byte
	Commitments []byte // DSSE envelope
}

type wireSeed struct {
	Seed        bundle.Digest   `json:"seed"`
	Commitments json.RawMessage `json:"commitments"`
}

// signCommitments makes the envelope of a seed file.
func signCommitments(ctx context.Context, c Commitments, signers []Signer) ([]byte, error) {
	files, err := json.Marshal(c.Files)
	if err != nil {
		return nil, err
	}
	s := commitmentStatement{Type: StatementType, PredicateType: CommitmentsType, Predicate: c,
		Subject: []Subject{{"commitments", SubjectDigest{sha256.Sum256(files)}}}}
	return signed(ctx, s, signers)
}

// WriteSeed writes a new seed file that only its owner can read.
func WriteSeed(path string, s *SeedFile) error {
	data, err := json.MarshalIndent(wireSeed{bundle.Digest(s.Seed), s.Commitments}, "", " ")
	if err != nil {
		return err
	}
	return whole.CreateDurably(path, 0o600, whole.Text(append(data, '\n')))
}

// ReadSeed reads a seed file.
func ReadSeed(path string) (*SeedFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSeedFile+1))
	if err != nil {
		return nil, err
	}
	var w wireSeed
	if len(data) > maxSeedFile {
		return nil, fmt.Errorf("%s: %d bytes are too many for a seed file", path, len(data))
	}
	if err := json.Unmarshal(data, &w); err != nil {
		return nil, fmt.Errorf("%s is not a seed file", path)
	}
	// The envelope was indented with the file; encode is its one spelling.
	var e envelope
	if err := json.Unmarshal(w.Commitments, &e); err != nil {
		return nil, fmt.Errorf("%s is not a seed file: its commitments cannot be read", path)
	}
	s := &SeedFile{Seed: [32]byte(w.Seed)}
	s.Commitments, err = encode(&e)
	return s, err
}

// CheckCommitments checks the envelope of commitments, returns its signers, and adds the trusted
// ones to trust.Committed. The commitments are nil if a signature is wrong.
func CheckCommitments(ctx context.Context, file string, data []byte, trust Trust) (*Commitments, []Verdict) {
	c := &checker{ctx: ctx, trust: trust, signed: map[string]bool{}}
	e, payload, err := parseEnvelope(data)
	var s commitmentStatement
	if err == nil {
		err = json.Unmarshal(payload, &s)
	}
	if err == nil {
		err = s.check()
	}
	if err != nil {
		c.add("commitments", No, file, err.Error())
		return nil, c.verdicts
	}
	c.signatures("commitments", file, e, s.Predicate.Signers)
	if trust.Committed != nil {
		maps.Copy(trust.Committed, c.signed)
	}
	for _, v := range c.verdicts {
		if v.State == No {
			return nil, c.verdicts
		}
	}
	return &s.Predicate, c.verdicts
}

// check checks that a statement is about its own commitments.
func (s *commitmentStatement) check() error {
	if s.Type == StatementType && s.PredicateType == firstCommitmentsType {
		return errors.New("commitments of version 1, from which anyone can declare a packet changed; seal the original again with --commit")
	}
	if s.Type != StatementType || s.PredicateType != CommitmentsType {
		return fmt.Errorf("a statement %q with predicate %q, which is not a statement of commitments", s.Type, s.PredicateType)
	}
	files, err := json.Marshal(s.Predicate.Files)
	if err != nil {
		return err
	}
	if len(s.Subject) != 1 || s.Subject[0] != (Subject{"commitments", SubjectDigest{sha256.Sum256(files)}}) {
		return errors.New("its subject is not its list of files")
	}
	return nil
}
