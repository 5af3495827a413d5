package seal

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

const (
	proofSuffix = ".tlog-proof"
	proofHead   = "c2sp.org/tlog-proof@v1\n" // C2SP tlog-proof
	maxProof    = 64 << 10                   // bytes of a proof
	tileHeight  = 8                          // C2SP tlog-tiles
)

// ErrNotLogged means that the newest checkpoint of a log does not have an entry yet.
var ErrNotLogged = errors.New("the log's checkpoint does not have the entry yet")

// LogEntry is the entry of a seal, custody/NAME, in a transparency log. It has a hash of the seal
// and nothing else, because anyone can read a log.
func LogEntry(b *bundle.Bundle, name string) ([]byte, error) {
	data, err := b.ReadCustodyFile(name)
	if err != nil {
		return nil, err
	}
	return logEntry(data), nil
}

func logEntry(seal []byte) []byte {
	return fmt.Appendf(nil, "pcapsule seal\nsha256 %x\n", sha256.Sum256(seal))
}

// ParseLogKey reads the public key of a log: NAME+HASH+KEY, as in a signed note.
func ParseLogKey(text []byte) (note.Verifier, error) {
	return note.NewVerifier(strings.TrimSpace(string(text)))
}

// Logged is a proof that a log has a seal.
type Logged struct {
	File   string `json:"file"`   // in the bundle
	Origin string `json:"origin"` // name of the log
	Index  int64  `json:"index"`  // of the entry, from 0
	Size   int64  `json:"size"`   // entries in the log
}

// checkpoint is the signed state of a log (C2SP tlog-checkpoint).
type checkpoint struct {
	origin string
	tree   tlog.Tree
	note   []byte
	signed []note.Signature // by keys that were given
}

// openCheckpoint reads a checkpoint. Without a signature of one of keys, signed is empty; a wrong
// signature of one is an error.
func openCheckpoint(data []byte, keys []note.Verifier) (*checkpoint, error) {
	n, err := note.Open(data, note.VerifierList(keys...))
	var unknown *note.UnverifiedNoteError
	if errors.As(err, &unknown) {
		n, err = unknown.Note, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the checkpoint: %w", err)
	}
	lines := strings.Split(n.Text, "\n")
	c := &checkpoint{origin: lines[0], note: data, signed: n.Sigs}
	if len(lines) < 4 || c.origin == "" {
		return nil, errors.New("reading the checkpoint: it needs a name, a size and a hash")
	}
	c.tree.N, err = strconv.ParseInt(lines[1], 10, 64)
	if err != nil || c.tree.N < 0 || strconv.FormatInt(c.tree.N, 10) != lines[1] {
		return nil, fmt.Errorf("reading the checkpoint: the size %q is not a number", lines[1])
	}
	if c.tree.Hash, err = tlog.ParseHash(lines[2]); err != nil {
		return nil, fmt.Errorf("reading the checkpoint: %w", err)
	}
	for _, s := range c.signed {
		if s.Name != c.origin {
			return nil, fmt.Errorf("reading the checkpoint: %s signed it, but it is of %s", s.Name, c.origin)
		}
	}
	for _, s := range slices.Concat(n.Sigs, n.UnverifiedSigs) {
		if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil { // unused bits at its end are not signed
			return nil, fmt.Errorf("reading the checkpoint: the signature of %s: %w", s.Name, err)
		}
	}
	return c, nil
}

// ProveLogged makes a proof that a log has an entry at index. fetch reads the files of the log, such
// as checkpoint and tile/0/000 (C2SP tlog-tiles). Its error is ErrNotLogged until the log has
// published the entry.
func ProveLogged(key note.Verifier, entry []byte, index int64, fetch func(path string) ([]byte, error)) ([]byte, error) {
	data, err := fetch("checkpoint")
	if err != nil {
		return nil, err
	}
	c, err := openCheckpoint(data, []note.Verifier{key})
	if err != nil {
		return nil, err
	}
	if len(c.signed) == 0 {
		return nil, fmt.Errorf("the checkpoint of %s is not signed by %s", c.origin, key.Name())
	}
	if index < 0 || c.tree.N <= index {
		return nil, ErrNotLogged
	}
	proof, err := tlog.ProveRecord(c.tree.N, index, tlog.TileHashReader(c.tree, &tiles{fetch}))
	if err != nil {
		return nil, fmt.Errorf("reading the log's tiles: %w", err)
	}
	if err := tlog.CheckRecord(proof, c.tree.N, c.tree.Hash, index, tlog.RecordHash(entry)); err != nil {
		return nil, fmt.Errorf("the log has another entry at %d", index)
	}
	return encodeProof(index, proof, data), nil
}

// tiles reads the tiles of a log. It implements tlog.TileReader.
type tiles struct {
	fetch func(path string) ([]byte, error)
}

func (t *tiles) Height() int { return tileHeight }

func (t *tiles) ReadTiles(list []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, x := range list {
		// A path of package tlog also has the height, which is fixed here.
		data, err := t.fetch("tile/" + strings.TrimPrefix(x.Path(), fmt.Sprintf("tile/%d/", tileHeight)))
		if err != nil {
			return nil, err
		}
		if len(data) != x.W*tlog.HashSize {
			return nil, fmt.Errorf("tile %s has %d bytes instead of %d", x.Path(), len(data), x.W*tlog.HashSize)
		}
		all = append(all, data)
	}
	return all, nil
}

func (t *tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// encodeProof is the one way to write a proof.
func encodeProof(index int64, proof tlog.RecordProof, checkpoint []byte) []byte {
	b := fmt.Appendf(nil, "%sindex %d\n", proofHead, index)
	for _, h := range proof {
		b = append(base64.StdEncoding.AppendEncode(b, h[:]), '\n')
	}
	return append(append(b, '\n'), checkpoint...)
}

// parseProof reads a proof and checks that it is for a seal. The checkpoint may still be unsigned.
func parseProof(data, seal []byte, keys []note.Verifier) (*Logged, *checkpoint, error) {
	head, rest, ok := bytes.Cut(data, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if len(data) > maxProof || !ok || len(lines) < 2 || lines[0]+"\n" != proofHead {
		return nil, nil, errors.New("it is not a proof of a transparency log")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[1], "index "), 10, 64)
	if err != nil || index < 0 {
		return nil, nil, fmt.Errorf("%q has no index of an entry", lines[1])
	}
	var proof tlog.RecordProof
	for _, l := range lines[2:] {
		h, err := tlog.ParseHash(l)
		if err != nil {
			return nil, nil, err
		}
		proof = append(proof, h)
	}
	if !bytes.Equal(encodeProof(index, proof, rest), data) {
		return nil, nil, errors.New("the file was written again or changed")
	}
	c, err := openCheckpoint(rest, keys)
	if err != nil {
		return nil, nil, err
	}
	if c.tree.N <= index || tlog.CheckRecord(proof, c.tree.N, c.tree.Hash, index, tlog.RecordHash(logEntry(seal))) != nil {
		return nil, nil, errors.New("it is not for this seal")
	}
	return &Logged{Origin: c.origin, Index: index, Size: c.tree.N}, c, nil
}

// AddProof adds a proof that a log has a seal, custody/NAME, to the bundle. The log's key must have
// signed it. entry becomes a line of the custody log.
func AddProof(b *bundle.Bundle, name string, key note.Verifier, proof []byte, entry bundle.Entry) (*Logged, error) {
	data, err := b.ReadCustodyFile(name)
	if err != nil {
		return nil, err
	}
	l, c, err := parseProof(proof, data, []note.Verifier{key})
	if err == nil && len(c.signed) == 0 {
		err = fmt.Errorf("%s did not sign it", key.Name())
	}
	if err != nil {
		return nil, fmt.Errorf("reading the proof: %w", err)
	}
	l.File = "custody/" + strings.TrimSuffix(name, sealSuffix) + proofSuffix
	entry.Event, entry.Time = EventLogged, 0
	entry.Details = map[string]string{"file": l.File, "sha256": bundle.Digest(sha256.Sum256(proof)).String(), "log": l.Origin}
	if _, _, err := b.AppendCustody(entry); err != nil {
		return nil, err
	}
	if err := b.AddCustodyFile(strings.TrimPrefix(l.File, "custody/"), proof); err != nil {
		return nil, errors.Join(err, fail(b, entry, strings.TrimPrefix(l.File, "custody/")))
	}
	return l, nil
}

// logged checks one proof of a log.
func (c *checker) logged(file string, proof []byte) {
	seal, ok := c.sealOf("log", file, proofSuffix, EventLogged, proof)
	if !ok {
		return
	}
	l, point, err := parseProof(proof, seal, c.trust.Logs)
	if err != nil {
		c.add("log", No, file, err.Error())
		return
	}
	detail := fmt.Sprintf("%s has the seal as entry %d of %d", l.Origin, l.Index, l.Size)
	switch {
	case len(c.trust.Logs) == 0:
		c.add("log", NotChecked, file, "it says that "+detail+"; give the log's public key with --log-key")
	case len(point.signed) == 0:
		c.add("log", NotChecked, file, "it says that "+detail+", a log whose key you did not give")
	default:
		c.inLog = true
		c.add("log", Yes, file, detail+", a log whose key you gave")
	}
}

// sealOf returns the seal that a file of the custody folder is about, if the custody log has that file.
func (c *checker) sealOf(check, file, suffix, event string, data []byte) (seal []byte, ok bool) {
	seal, exists := c.report.CustodyFiles[strings.TrimSuffix(file, suffix)+sealSuffix]
	if !exists {
		c.add(check, No, file, "its seal is missing")
		return nil, false
	}
	if !c.listed(event, file, data) {
		c.add(check, No, file, "the custody log does not have it with this content")
		return nil, false
	}
	return seal, true
}

// listed reports whether the custody log has a file with its content.
func (c *checker) listed(event, file string, data []byte) bool {
	sum := bundle.Digest(sha256.Sum256(data)).String()
	return slices.ContainsFunc(c.report.Custody, func(e bundle.Entry) bool {
		return e.Event == event && e.Details["file"] == file && e.Details["sha256"] == sum
	})
}
