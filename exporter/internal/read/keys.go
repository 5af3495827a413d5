package read

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"filippo.io/age"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/internal/clip"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Keys are the keys of a run with their sources.
type Keys struct {
	Store    *secrets.Store
	sides    []bundle.SideInput
	warnings []string
}

// LoadKeys reads the secrets inside the captures, wherever they are, and the key files, before
// the first packet is read, because keys often come after the packets that they decrypt. So do
// statistics of interfaces after the packets that they count. Its error is *InputError or *KeysError.
func LoadKeys(sources *Inputs, files []string, identities []age.Identity) (*Keys, error) {
	k := &Keys{Store: secrets.NewStore()}
	for _, x := range sources.files {
		if err := k.scan(x); err != nil {
			return nil, err
		}
	}
	for _, path := range files {
		if err := k.add(path, identities); err != nil {
			return nil, err
		}
	}
	k.addSides(sources, identities)
	if err := k.Store.Ready(); err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	for _, s := range k.Store.Stats() {
		k.report(&s)
	}
	slices.SortFunc(k.sides, func(a, b bundle.SideInput) int {
		return cmp.Or(bytes.Compare(a.SHA256Original[:], b.SHA256Original[:]), cmp.Compare(a.Name, b.Name))
	})
	return k, nil
}

// addSides adds the keys in side files of segments. The user did not name these files, so an
// unusable one causes a warning, not an error.
func (k *Keys) addSides(sources *Inputs, identities []age.Identity) {
	for i, x := range sources.files { // ordered by content
		if x.sides.keys == "" {
			continue
		}
		id := int32(i)
		before, sources := len(k.sides), len(k.Store.Stats())
		err := k.add(x.sides.keys, identities)
		if err != nil {
			var bad *KeysError
			if errors.As(err, &bad) {
				err = bad.Err
			}
			k.warnings = append(k.warnings, filepath.Base(x.sides.keys)+": not used: "+plainError(err))
			k.sides = k.sides[:before]
			continue
		}
		if k.secrets(sources) == 0 {
			k.sides = k.sides[:before] // it contained nothing so far
			continue
		}
		k.sides[before].FileID = &id
	}
}

// secrets is the number of keys in the sources after the first few.
func (k *Keys) secrets(behind int) (n int64) {
	for _, s := range k.Store.Stats()[behind:] {
		n += s.Keys
	}
	return n
}

// scan reads the secrets and statistics inside a capture.
func (k *Keys) scan(x *input) error {
	if !x.ng {
		return nil
	}
	var files []*os.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	open := func() (io.Reader, error) {
		raw, f, err := x.raw()
		if err != nil {
			return nil, err
		}
		if f != nil {
			files = append(files, f)
		}
		src, err := pcapng.Open(raw, pcapng.Limits{})
		if err != nil {
			return nil, err
		}
		return x.unpacked(src), nil
	}
	src, err := open()
	if err != nil {
		return &InputError{x.path, err}
	}
	found, err := pcapng.Scan(src, open)
	if err != nil {
		return nil // reading the packets reports the problem after everything readable
	}
	x.counted = found.Statistics
	if found.Left > 0 {
		k.warnings = append(k.warnings, fmt.Sprintf("%s: %d bytes of decryption secrets exceed the limit and were not read", x.name, found.Left))
	}
	other := 0
	for i, s := range found.List {
		if s.Type != pcapng.SecretsTLS {
			other++
			continue
		}
		name := fmt.Sprintf("%s, secrets block %d", x.name, i)
		if err := k.Store.AddLog(name, bytes.NewReader(s.Data), int64(len(s.Data))); err != nil {
			return &InputError{x.path, err}
		}
	}
	if other > 0 {
		k.warnings = append(k.warnings, x.name+": "+clip.Count(int64(other), "secrets block is", "secrets blocks are")+" not for TLS and not used")
	}
	return nil
}

// KeysError is a key file that cannot be used.
type KeysError struct {
	Path string
	Err  error
}

// Error implements error.
func (e *KeysError) Error() string { return fmt.Sprintf("reading keys from %s: %v", e.Path, e.Err) }

// Unwrap returns the cause.
func (e *KeysError) Unwrap() error { return e.Err }

// ageHeader is the start of a file encrypted with age.
const ageHeader = "age-encryption.org/v1\n"

// sectionMagic is the start of a PCAPNG file.
const sectionMagic = "\n\r\r\n"

// maxSealed is the largest decrypted size of a file encrypted with age.
const maxSealed = 256 << 20

// add adds a key file: a key log, an RSA key, a capture with secrets, or one of these encrypted
// with age.
func (k *Keys) add(path string, identities []age.Identity) error {
	f, err := os.Open(path)
	if err != nil {
		return &KeysError{path, err}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return &KeysError{path, err}
	}
	if !info.Mode().IsRegular() { // its lines are read again when they are looked up
		return &KeysError{path, errors.New("not a regular file")}
	}
	head := make([]byte, len(ageHeader))
	n, _ := f.ReadAt(head, 0)
	side := bundle.SideInput{Kind: "keys", Name: filepath.Base(path), SizeOriginal: info.Size()}
	before := len(k.Store.Stats())
	switch {
	case string(head[:n]) == ageHeader:
		err = k.unseal(side.Name, f, identities)
	case bytes.HasPrefix(head, []byte(sectionMagic)):
		err = k.scan(&input{path: path, name: side.Name, ng: true})
	default:
		err = k.Store.AddFile(path)
	}
	if err != nil {
		var source *secrets.SourceError
		if errors.As(err, &source) { // it contains the file name too
			err = source.Err
		}
		return &KeysError{path, err}
	}
	if s := k.Store.Stats(); len(s) == before+1 && s[before].Kind == "key_log" && s[before].Bytes == info.Size() && string(head[:n]) != ageHeader {
		side.SHA256Original = s[before].SHA256 // indexing has read the whole file
	} else {
		h := sha256.New()
		if _, err := io.Copy(h, io.NewSectionReader(f, 0, info.Size())); err != nil {
			return &KeysError{path, err}
		}
		h.Sum(side.SHA256Original[:0])
	}
	k.sides = append(k.sides, side)
	return nil
}

// unseal reads keys encrypted with age.
func (k *Keys) unseal(name string, f *os.File, identities []age.Identity) error {
	if len(identities) == 0 {
		return errors.New("the file is encrypted with age: pass --identity with the recipient's key")
	}
	r, err := age.Decrypt(f, identities...)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(r, maxSealed+1))
	if err != nil {
		return err
	}
	if len(data) > maxSealed {
		return fmt.Errorf("the keys exceed %d bytes", maxSealed)
	}
	return k.Store.AddLog(name, bytes.NewReader(data), int64(len(data)))
}

// report records the unusable parts of a source as warnings.
func (k *Keys) report(s *secrets.SourceStats) {
	if s.Wrong > 0 {
		where := ""
		for i, w := range s.WrongLines {
			if i == 3 {
				where += ", …"
				break
			}
			if where += ", line " + fmt.Sprint(w.Line) + ": " + w.Why; i == 0 {
				where = where[2:]
			}
		}
		k.warnings = append(k.warnings, fmt.Sprintf("%s: %s no key (%s)", s.Name, clip.Count(s.Wrong, "line is", "lines are"), where))
	}
	if s.Conflicts > 0 {
		k.warnings = append(k.warnings, s.Name+": "+clip.Count(s.Conflicts, "key has", "keys have")+" a different secret from an earlier line for the same client random; each is tried")
	}
	if s.Unfinished {
		k.warnings = append(k.warnings, s.Name+": its last line is incomplete because the file was still growing")
	}
}

// Any reports whether there is a key, so that rows may contain decrypted data.
func (k *Keys) Any() bool { return k.secrets(0) > 0 || len(k.sides) > 0 }

// Warnings lists the unusable parts of the keys.
func (k *Keys) Warnings() []string { return k.warnings }

// Describe records the sources of the keys in the manifest.
func (k *Keys) Describe(m *bundle.Manifest) {
	m.SideInputs = append(m.SideInputs, k.sides...)
	m.Warnings = append(m.Warnings, k.warnings...)
	if n := k.Store.Gone(); n > 0 {
		m.Warnings = append(m.Warnings, clip.Count(n, "key was", "keys were")+" no longer in its file when looked up; the file changed meanwhile")
	}
	for _, s := range k.Store.Stats() {
		if s.Keys+s.Duplicates+s.Conflicts+s.Wrong == 0 { // nothing was read from it
			continue
		}
		m.Accounts.AddCounter("keys", "secrets", s.Keys)
		m.Accounts.AddCounter("keys", "duplicates", s.Duplicates)
		m.Accounts.AddCounter("keys", "conflicts", s.Conflicts)
		m.Accounts.AddCounter("keys", "wrong_lines", s.Wrong)
	}
}
