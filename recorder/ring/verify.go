package ring

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// VerifyOptions of Verify.
type VerifyOptions struct {
	Keys       []ed25519.PublicKey // the node's, from a trusted source; empty: those in the ring
	Witnesses  []ed25519.PublicKey // likewise for anchors
	Anchors    []Anchor            // kept outside the ring: its chain must contain their records
	SkipHashes bool                // check only records and names
	HashSides  bool                // but read side files anyway
}

// Problem is an error in a ring.
type Problem struct {
	Record int64  `json:"record"`         // -1 if it concerns no record
	File   string `json:"file,omitempty"` // in the ring's folder
	What   string `json:"what"`
}

func (p Problem) String() string {
	switch {
	case p.Record >= 0 && p.File != "":
		return fmt.Sprintf("record %d, %s: %s", p.Record, p.File, p.What)
	case p.Record >= 0:
		return fmt.Sprintf("record %d: %s", p.Record, p.What)
	}
	return fmt.Sprintf("%s: %s", p.File, p.What)
}

// Report is the result of Verify.
type Report struct {
	Ring     string    `json:"ring"`
	Node     string    `json:"node"`
	Records  int64     `json:"records"`
	Problems []Problem `json:"problems"` // at most 1000
	More     int       `json:"more_problems,omitempty"`

	Segments int   `json:"segments"` // present, with the size and hash of their seals
	Bytes    int64 `json:"bytes"`
	Deleted  int64 `json:"deleted"` // by retention, as recorded
	Hashed   bool  `json:"hashed"`

	Signed      int64    `json:"signed"` // records with a valid signature
	Keys        []string `json:"keys"`   // IDs, in the order of their first signature
	KeysTrusted bool     `json:"keys_trusted"`

	Anchored       int64  `json:"anchored"` // last record that a witness has seen; -1 if there is none
	AnchoredBy     string `json:"anchored_by,omitempty"`
	AnchoredAt     Time   `json:"anchored_at"`
	AnchorsTrusted bool   `json:"anchors_trusted"`

	SideFiles      int      `json:"side_files"`             // that match their seals; hashes too if Hashed
	SidesOpen      []string `json:"side_files_not_sealed"`  // segments whose side files are not sealed yet
	SidesRecovered []string `json:"side_files_recovered"`   // sealed after a crash
	SidesUncovered []string `json:"side_files_not_covered"` // sealed by a release that did not seal side files

	Open       []string `json:"open"`       // segments still hidden
	Recovered  []string `json:"recovered"`  // sealed after a crash
	Unbalanced []string `json:"unbalanced"` // counters do not add up
	Holes      []Hole   `json:"holes"`
	Pin        *Pinned  `json:"pin,omitempty"` // the folder is a part of a ring, created by Pin
	Notes      []string `json:"notes"`
}

// OK reports whether there are no problems.
func (r *Report) OK() bool { return len(r.Problems) == 0 }

const maxProblems = 1000

func (r *Report) problem(record int64, file, format string, args ...any) {
	if len(r.Problems) == maxProblems {
		r.More++
		return
	}
	r.Problems = append(r.Problems, Problem{record, file, fmt.Sprintf(format, args...)})
}

// verifier verifies a ring.
type verifier struct {
	opt     VerifyOptions
	rep     *Report
	hist    *history
	key     ed25519.PublicKey // of the current signer
	keyID   string
	hashes  [][sha256.Size]byte
	sealed  map[ID]*Seal
	numbers map[string][]uint64 // sealed, by series
	gaps    map[string][]Range  // numbers recorded as missing
	below   map[string]uint64   // numbers below are explained by a start
	sides   map[ID]*sideSeals
	sums    map[string]ID // of side files, to identify those of other segments
	ring    *Ring
}

// Verify checks the chain of records, their signatures, the hashes of all segments, and that
// every number exists, was deleted by a record, or is recorded as missing. It returns an error
// if a ring cannot be read; problems with the ring are in the Report.
func Verify(dir string, opt VerifyOptions) (*Report, error) {
	v, err := verifyChain(dir, opt)
	if err != nil {
		return nil, err
	}
	v.numbering()
	v.files()
	return v.rep, nil
}

// verifyChain checks only the records and the anchors.
func verifyChain(dir string, opt VerifyOptions) (*verifier, error) {
	r, err := Open(dir)
	if err != nil {
		return nil, err
	}
	rep := &Report{Ring: r.ID, Node: r.Node, Problems: []Problem{}, Keys: []string{}, Anchored: -1, Open: []string{}, Recovered: []string{},
		Unbalanced: []string{}, Holes: []Hole{}, Notes: []string{}, SidesOpen: []string{}, SidesRecovered: []string{}, SidesUncovered: []string{},
		Hashed: !opt.SkipHashes, KeysTrusted: len(opt.Keys) > 0, AnchorsTrusted: len(opt.Witnesses) > 0}
	v := &verifier{opt: opt, rep: rep, hist: newHistory(), sealed: map[ID]*Seal{}, sides: map[ID]*sideSeals{}, sums: map[string]ID{},
		numbers: map[string][]uint64{}, gaps: map[string][]Range{}, below: map[string]uint64{}, ring: r}
	if rep.Pin, err = readPin(dir); err != nil {
		rep.problem(-1, pinName, "%v", err)
	}
	if err := v.chain(); err != nil {
		return nil, fmt.Errorf("verifying ring %s: %w", dir, err)
	}
	for i := range opt.Anchors {
		v.anchor(-1, &opt.Anchors[i], true)
	}
	return v, nil
}

func readPin(dir string) (*Pinned, error) {
	f, err := os.Open(filepath.Join(dir, pinName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p := &Pinned{}
	if err := json.NewDecoder(io.LimitReader(f, 64<<20)).Decode(p); err != nil {
		return nil, err
	}
	return p, nil
}

func (v *verifier) chain() error {
	f, err := os.Open(filepath.Join(v.ring.Dir, sealsName))
	if err != nil {
		return err
	}
	defer f.Close()
	prev := ""
	whole, err := readSeals(f, func(r *Record, at int64, err error) error {
		if err != nil {
			v.rep.problem(v.rep.Records, sealsName, "%v", errors.Unwrap(err))
			return nil
		}
		v.record(r, prev)
		prev = r.Hash
		return nil
	})
	if err != nil {
		return err
	}
	if text := v.hist.underway.String(); text != "" && !v.ring.Writing && v.rep.Pin == nil {
		v.rep.Notes = append(v.rep.Notes, "the recorder ended without a stop record: "+text)
	}
	if info, err := f.Stat(); err == nil && info.Size() > whole && !v.ring.Writing {
		v.rep.Notes = append(v.rep.Notes, fmt.Sprintf("%s ends with %d bytes of an unfinished record, which the next recorder will remove", sealsName, info.Size()-whole))
	}
	return nil
}

func (v *verifier) record(r *Record, prev string) {
	rep := v.rep
	n := rep.Records
	rep.Records++
	var hash [sha256.Size]byte
	hex.Decode(hash[:], []byte(r.Hash)) // our own hex
	v.hashes = append(v.hashes, hash)
	switch {
	case r.N != uint64(n):
		rep.problem(n, "", "its number is %d instead of %d", r.N, n)
	case r.Prev != prev:
		rep.problem(n, "", "its previous record must have the hash %.16s…, but has %.16s…", r.Prev, prev)
	}
	if r.Ring != rep.Ring {
		rep.problem(n, "", "it belongs to ring %.40q instead of %s", r.Ring, rep.Ring)
	}
	if (n == 0) != (r.Kind == KindRing) {
		rep.problem(n, "", "kind %q: the record of the ring must be the first record, and only that", r.Kind)
	}
	switch {
	case r.Origin != nil:
		v.setKey(n, r.Origin.PublicKey)
	case r.Start != nil:
		v.setKey(n, r.Start.PublicKey)
		if d := r.Start.Damaged; d > 0 {
			rep.Notes = append(rep.Notes, fmt.Sprintf("the recorder of record %d found %d unreadable lines", n, d))
		}
		for s, next := range r.Start.Next {
			v.below[s] = max(v.below[s], next)
		}
	case r.Segment != nil:
		v.segment(n, r.Segment)
	case r.Sides != nil:
		v.sideRecord(n, r)
	case r.Deletion != nil:
		for _, x := range r.Deletion.Sequences {
			if x.To >= x.From {
				rep.Deleted += int64(x.To-x.From) + 1
			}
		}
	case r.Anchor != nil:
		v.anchor(n, r.Anchor, false)
	}
	v.signature(n, r)
	rep.Holes = addHoles(rep.Holes, r)
	for _, h := range addHoles(nil, r) {
		v.gaps[h.Series] = append(v.gaps[h.Series], h.Sequences...)
	}
	v.hist.apply(r)
}

// setKey follows changes of the signing key.
func (v *verifier) setKey(n int64, text string) {
	rep := v.rep
	if text == "" {
		if v.key != nil {
			rep.problem(n, "", "records are not signed from this one on")
		}
		v.key, v.keyID = nil, ""
		return
	}
	key, ok := publicKey(text)
	if !ok {
		rep.problem(n, "", "invalid public key")
		return
	}
	if v.key.Equal(key) {
		return
	}
	if v.key != nil {
		rep.Notes = append(rep.Notes, fmt.Sprintf("the signing key changes at record %d", n))
	}
	v.key, v.keyID = key, KeyID(key)
	rep.Keys = append(rep.Keys, v.keyID)
	if len(v.opt.Keys) > 0 && !containsKey(v.opt.Keys, key) {
		rep.problem(n, "", "signed by key %.16s…, which is not one of the given keys", v.keyID)
	}
}

func containsKey(list []ed25519.PublicKey, key ed25519.PublicKey) bool {
	return slices.ContainsFunc(list, func(k ed25519.PublicKey) bool { return k.Equal(key) })
}

func (v *verifier) signature(n int64, r *Record) {
	switch {
	case v.key == nil && len(r.Sig) == 0:
		if len(v.opt.Keys) > 0 {
			v.rep.problem(n, "", "the record is not signed")
		}
	case v.key != nil && r.signedBy(v.key):
		if r.Key != v.keyID {
			v.rep.problem(n, "", "it names key %s, but key %s signed it", r.Key, v.keyID)
		}
		v.rep.Signed++
	case len(r.Sig) == 0:
		v.rep.problem(n, "", "the record is not signed")
	default:
		v.rep.problem(n, "", "the signature is not valid")
	}
}

func (v *verifier) segment(n int64, s *Seal) {
	id := s.ID()
	if v.sealed[id] != nil {
		v.rep.problem(n, id.Segment(), "sealed a second time")
	}
	v.sealed[id] = s
	v.numbers[id.Series] = append(v.numbers[id.Series], id.Sequence)
	if s.Recovered {
		v.rep.Recovered = append(v.rep.Recovered, id.Segment())
	}
	if s.Counters != nil && (s.Balanced == nil || *s.Balanced != s.Counters.Balanced()) {
		v.rep.problem(n, id.Segment(), "its field balanced contradicts its counters")
	}
	if s.Counters != nil && !s.Counters.Balanced() {
		v.rep.Unbalanced = append(v.rep.Unbalanced, id.Segment())
	}
}

// numbering looks for numbers that no record explains.
func (v *verifier) numbering() {
	var names []string
	for s := range v.numbers {
		names = append(names, s)
	}
	slices.Sort(names)
	for _, series := range names {
		list := v.numbers[series]
		slices.Sort(list)
		next := uint64(1)
		for _, n := range list {
			for ; next < n; next++ {
				if next < v.below[series] {
					next = min(v.below[series], n) - 1
					continue
				}
				if !within(v.gaps[series], next) {
					v.rep.problem(-1, ID{series, v.rep.Node, next}.Segment(), "the segment is missing, and no record explains it")
				}
				if v.rep.More > 0 {
					return
				}
			}
			next = n + 1
		}
	}
}

// files compares the folder with the records.
func (v *verifier) files() {
	wanted := map[string]bool{}
	if v.rep.Pin != nil {
		for _, name := range v.rep.Pin.Segments {
			wanted[name] = true
		}
	}
	for _, s := range v.ring.Segments {
		name := s.ID.Segment()
		switch {
		case s.Open && s.Seal == nil:
			v.rep.Open = append(v.rep.Open, name)
		case s.Missing || s.Open:
			if v.rep.Pin == nil || wanted[name] {
				v.rep.problem(int64(s.Record.N), name, "the file is missing, and no record says that it was deleted")
			}
		case s.Seal == nil && within(v.hist.deleted[s.ID.Series], s.ID.Sequence):
			v.rep.Notes = append(v.rep.Notes, name+" still exists although its deletion is recorded")
		case s.Seal == nil:
			v.rep.problem(-1, name, "no record seals it")
		default:
			v.file(s)
			v.sidesOf(s)
		}
	}
	// A recorder that is stopped may leave such files, and nothing reads them. One that runs creates
	// them before the segment.
	if n := len(v.ring.stray); n > 0 && !v.ring.Writing {
		v.rep.Notes = append(v.rep.Notes, fmt.Sprintf("side files that belong to no segment are not read: %s (%d in all)", strings.Join(v.ring.stray[:min(n, 10)], ", "), n))
	}
}

func (v *verifier) file(s Segment) {
	n, name := int64(s.Record.N), s.ID.Segment()
	if s.Size != s.Seal.Size {
		v.rep.problem(n, name, "%s", sizes(s.Size, s.Seal.Size))
		return
	}
	if !v.opt.SkipHashes {
		sum, err := hashFile(s.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist) && v.ring.Writing:
			v.rep.Notes = append(v.rep.Notes, name+" was deleted during verification")
			return
		case err != nil:
			v.rep.problem(n, name, "%v", err)
			return
		case sum != strings.ToLower(s.Seal.SHA256):
			v.rep.problem(n, name, "its SHA-256 differs from its seal")
			return
		}
	}
	v.rep.Segments++
	v.rep.Bytes += s.Size
}
