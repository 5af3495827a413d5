package commit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// revealFormat is the format of a Reveal.
const revealFormat = "pcapsule reveal 2"

// maxReveal is the size of a file with a Reveal.
const maxReveal = 256 << 20

// Reveal shows one packet or one row of an original, or some of its groups, with the proof that it
// is the one to which the seal committed. It shows nothing of any other.
type Reveal struct {
	Format string          `json:"format"`
	FileID int32           `json:"file_id"`         // of a packet
	Table  string          `json:"table,omitempty"` // of a row; empty for a packet
	Index  uint64          `json:"index"`           // of the packet in its file, or of the row in its table
	Groups []RevealedGroup `json:"groups"`
	Path   []bundle.Digest `json:"path"` // hashes of the subtrees beside the leaf, left to right
}

// RevealedGroup is one group: its salt and content, or, if it is not shown, its leaf.
type RevealedGroup struct {
	Name  string         `json:"name"`
	At    uint32         `json:"at"`
	Salt  []byte         `json:"salt,omitempty"`
	Text  string         `json:"text,omitempty"` // content of a group of a row
	Bytes []byte         `json:"bytes,omitempty"`
	Leaf  *bundle.Digest `json:"leaf,omitempty"`
}

// RevealPacket reveals one packet of a file.
func RevealPacket(file string, id int32, part int, index uint64, seed Key) (*Reveal, error) {
	s, err := openPackets(file, part)
	if err != nil {
		return nil, err
	}
	defer s.close()
	r := &Reveal{Format: revealFormat, FileID: id, Index: index}
	return r, r.reveal(s, seed.File(id), func(string) bool { return true })
}

// ErrGroup is the error of a name that no group has.
var ErrGroup = errors.New("a row has no group")

// RevealRow reveals one row of a table, or those of its groups that have a name in groups. No names
// mean all groups.
func RevealRow(files []string, name string, index uint64, seed Key, names []string) (*Reveal, error) {
	for _, n := range names {
		if !slices.ContainsFunc(rowGroups, func(g rowGroup) bool { return g.name == n }) {
			return nil, fmt.Errorf("%w %q: it has %s", ErrGroup, n, strings.Join(RowGroups(), ", "))
		}
	}
	s, err := openRows(files)
	if err != nil {
		return nil, err
	}
	defer s.close()
	r := &Reveal{Format: revealFormat, Table: name, Index: index}
	return r, r.reveal(s, seed.Table(name), func(group string) bool { return len(names) == 0 || slices.Contains(names, group) })
}

// RowGroups lists the names of the groups of a row.
func RowGroups() (names []string) {
	for _, g := range rowGroups {
		names = append(names, g.name)
	}
	return names
}

// reveal takes what it shows from a source.
func (r *Reveal) reveal(s source, key Key, show func(group string) bool) error {
	var tree Prover
	var w walker
	hash := newHasher()
	for {
		err := s.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		k := w.at(&key, tree.n)
		if tree.n == r.Index {
			hash.salts.reset(&k)
			s.groups(func(g int, at uint32, content []byte) { r.group(hash, g, at, content, show) })
		}
		tree.Add(hash.of(k, s), tree.n == r.Index)
	}
	if r.Index >= tree.n {
		return fmt.Errorf("%s is not there: %d are", r.What(), tree.n)
	}
	_, path := tree.Proof()
	for _, h := range path {
		r.Path = append(r.Path, bundle.Digest(h))
	}
	return nil
}

func (r *Reveal) group(hash *hasher, g int, at uint32, content []byte, show func(group string) bool) {
	x := RevealedGroup{Name: packetGroup(at), At: at}
	if r.Table != "" {
		x.Name = rowGroups[g].name
	}
	salt := hash.salts.of(g)
	switch {
	case !show(x.Name):
		leaf := bundle.Digest(hash.hash(salt, at, content))
		x.Leaf = &leaf
	case r.Table != "":
		x.Salt, x.Text = salt[:], string(content)
	default:
		x.Salt, x.Bytes = salt[:], bytes.Clone(content)
	}
	r.Groups = append(r.Groups, x)
}

// packetGroup is the name of the group of a packet at a place.
func packetGroup(at uint32) string {
	switch at {
	case 0:
		return "fields"
	case optionPlace:
		return "option"
	}
	return fmt.Sprintf("byte %d", at-1)
}

// named reports whether each group has the name of its place.
func (r *Reveal) named() bool {
	for g, x := range r.Groups {
		if r.Table == "" && x.Name != packetGroup(x.At) || r.Table != "" && (len(r.Groups) != len(rowGroups) || x.Name != rowGroups[g].name || x.At != uint32(g)) {
			return false
		}
	}
	return len(r.Groups) > 0
}

// What names the revealed packet or row.
func (r *Reveal) What() string {
	if r.Table != "" {
		return fmt.Sprintf("row %d of table %s", r.Index, r.Table)
	}
	return fmt.Sprintf("packet %d of file %d", r.Index, r.FileID)
}

// ReadReveal reads a file with a Reveal.
func ReadReveal(path string) (*Reveal, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxReveal+1))
	if err != nil {
		return nil, err
	}
	r := &Reveal{}
	if err := json.Unmarshal(data, r); err != nil || len(data) > maxReveal || r.Format != revealFormat {
		return nil, errors.Join(fmt.Errorf("%s is not what pcapsule reveal writes", path), err)
	}
	return r, nil
}

// Verify checks that a Reveal shows what a commitment of n leaves with this root commits to.
func (r *Reveal) Verify(n uint64, root bundle.Digest) error {
	if !r.named() {
		return fmt.Errorf("%w: its groups are not those of a packet or row", ErrProof)
	}
	hash := newHasher()
	hash.begin()
	for _, g := range r.Groups {
		switch {
		case len(g.Salt) == len(Salt{}) && g.Leaf == nil && (g.Text == "" || g.Bytes == nil):
			hash.add(hash.hash(Salt(g.Salt), g.At, slices.Concat([]byte(g.Text), g.Bytes)))
		case g.Leaf != nil && g.Salt == nil && g.Text == "" && g.Bytes == nil:
			hash.add(Hash(*g.Leaf))
		default:
			return fmt.Errorf("%w: group %q has neither a salt nor a leaf alone", ErrProof, g.Name)
		}
	}
	path := make([]Hash, len(r.Path))
	for i := range path {
		path[i] = Hash(r.Path[i])
	}
	got, err := Verify(n, []Known{{r.Index, hash.sum()}}, path)
	if err != nil {
		return err
	}
	if bundle.Digest(got) != root {
		return fmt.Errorf("%w: its root is not the one that was signed", ErrProof)
	}
	return nil
}

// StateOf returns the state of one packet or row of the original, unchanged, changed or removed,
// according to a verified proof.
func StateOf(proof string, index uint64) (string, error) {
	x, err := readProof(proof)
	if err != nil {
		return "", err
	}
	state, ok := x.stateOf(index)
	if !ok {
		return "", fmt.Errorf("%w: it does not name %d", ErrProof, index)
	}
	return [states]string{"unchanged", "changed", "removed"}[state], nil
}
