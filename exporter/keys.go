package exporter

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
	"github.com/pcapsule/pcapsule/exporter/internal/flow"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Where a bundle keeps the keys that open its packets, when asked to.
const (
	keysPath   = "data/keys/keys.log"
	sealedPath = keysPath + ".age"
)

// maxUsed is how many client randoms are remembered as kept; beyond, a line may be
// written twice, which a key log allows.
const maxUsed = 1 << 20

// keyring is where the keys of a run come from and go to.
type keyring struct {
	store    *secrets.Store
	sides    []bundle.SideInput
	warnings []string

	file  *bundle.File // of the keys kept in the bundle, nil where none were asked for
	plain io.WriteCloser
	used  map[[sha256.Size]byte]struct{}
	kept  int64
}

// loadKeys reads the secrets inside the captures, wherever they stand, and the files with
// keys, before the first packet is read: keys often come after the packets they open.
func loadKeys(sources *inputs, o Options) (*keyring, error) {
	k := &keyring{store: secrets.NewStore(), used: map[[sha256.Size]byte]struct{}{}}
	for _, x := range sources.files {
		if err := k.scan(x); err != nil {
			return nil, err
		}
	}
	for _, path := range o.Keys {
		if err := k.add(path, o.Identities); err != nil {
			return nil, err
		}
	}
	k.addSides(sources, o)
	if err := k.store.Ready(); err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	for _, s := range k.store.Stats() {
		k.tell(&s)
	}
	slices.SortFunc(k.sides, func(a, b bundle.SideInput) int {
		return cmp.Or(bytes.Compare(a.SHA256Original[:], b.SHA256Original[:]), cmp.Compare(a.Name, b.Name))
	})
	return k, nil
}

// addSides takes the keys that stand beside segments. Nobody named them, so one that
// cannot be used is told and not fatal.
func (k *keyring) addSides(sources *inputs, o Options) {
	for i, x := range sources.files { // in an order that hangs on their content
		if x.sides.keys == "" {
			continue
		}
		id := int32(i)
		before, sources := len(k.sides), len(k.store.Stats())
		err := k.add(x.sides.keys, o.Identities)
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
			k.sides = k.sides[:before] // nothing in it, so far
			continue
		}
		k.sides[before].FileID = &id
	}
}

// secrets is how many keys came from sources behind the first few.
func (k *keyring) secrets(behind int) (n int64) {
	for _, s := range k.store.Stats()[behind:] {
		n += s.Keys
	}
	return n
}

// scan takes the secrets that stand in a capture.
func (k *keyring) scan(x *input) error {
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
		return pcapng.Open(raw, pcapng.Limits{})
	}
	src, err := open()
	if err != nil {
		return &InputError{x.path, err}
	}
	found, err := pcapng.ScanSecrets(src, open)
	if err != nil {
		return nil // reading the packets tells what is wrong, after all that can be read
	}
	if found.Left > 0 {
		k.warnings = append(k.warnings, fmt.Sprintf("%s: %d bytes of decryption secrets over the limit were not read", x.name, found.Left))
	}
	other := 0
	for i, s := range found.List {
		if s.Type != pcapng.SecretsTLS {
			other++
			continue
		}
		name := fmt.Sprintf("%s, secrets block %d", x.name, i)
		if err := k.store.AddLog(name, bytes.NewReader(s.Data), int64(len(s.Data))); err != nil {
			return &InputError{x.path, err}
		}
	}
	if other > 0 {
		k.warnings = append(k.warnings, x.name+": "+countText(int64(other), "secrets block is", "secrets blocks are")+" not for TLS and not used")
	}
	return nil
}

// KeysError is a file with keys that cannot be used.
type KeysError struct {
	Path string
	Err  error
}

// Error implements error.
func (e *KeysError) Error() string { return fmt.Sprintf("reading keys from %s: %v", e.Path, e.Err) }

// Unwrap gives the cause.
func (e *KeysError) Unwrap() error { return e.Err }

// ageHeader begins a file that age encrypted.
const ageHeader = "age-encryption.org/v1\n"

// sectionMagic begins a PCAPNG file.
const sectionMagic = "\n\r\r\n"

// maxSealed is how large a file that age encrypted may be once opened.
const maxSealed = 256 << 20

// add takes a file with keys: a key log, an RSA key, a capture with secrets in it, or one of
// these encrypted with age.
func (k *keyring) add(path string, identities []age.Identity) error {
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
	before := len(k.store.Stats())
	switch {
	case string(head[:n]) == ageHeader:
		err = k.unseal(side.Name, f, identities)
	case bytes.HasPrefix(head, []byte(sectionMagic)):
		err = k.scan(&input{path: path, name: side.Name, ng: true})
	default:
		err = k.store.AddFile(path)
	}
	if err != nil {
		var source *secrets.SourceError
		if errors.As(err, &source) { // names the file too
			err = source.Err
		}
		return &KeysError{path, err}
	}
	if s := k.store.Stats(); len(s) == before+1 && s[before].Kind == "key_log" && s[before].Bytes == info.Size() && string(head[:n]) != ageHeader {
		side.SHA256Original = s[before].SHA256 // indexing has read it whole
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

// unseal reads keys that age encrypted.
func (k *keyring) unseal(name string, f *os.File, identities []age.Identity) error {
	if len(identities) == 0 {
		return errors.New("encrypted with age: give --identity with the recipient's key")
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
		return fmt.Errorf("more than %d bytes of keys", maxSealed)
	}
	return k.store.AddLog(name, bytes.NewReader(data), int64(len(data)))
}

// tell says what of a source could not be used.
func (k *keyring) tell(s *secrets.SourceStats) {
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
		k.warnings = append(k.warnings, fmt.Sprintf("%s: %s no key (%s)", s.Name, countText(s.Wrong, "line is", "lines are"), where))
	}
	if s.Conflicts > 0 {
		k.warnings = append(k.warnings, s.Name+": "+countText(s.Conflicts, "key says", "keys say")+" another secret than an earlier line for the same client random; each is tried")
	}
	if s.Unfinished {
		k.warnings = append(k.warnings, s.Name+": its last line has no end; the file was still growing")
	}
}

// embed begins the file in which the bundle keeps the keys that are used.
func (k *keyring) embed(b *bundle.Builder, o Options) error {
	if !o.EmbedKeys {
		return nil
	}
	rel := keysPath
	if len(o.KeysTo) > 0 {
		rel = sealedPath
	}
	var err error
	if k.file, err = b.Create(rel); err != nil {
		return err
	}
	k.plain = nopCloser{k.file}
	if len(o.KeysTo) > 0 {
		if k.plain, err = age.Encrypt(k.file, o.KeysTo...); err != nil {
			return fmt.Errorf("encrypting keys: %w", err)
		}
	}
	return nil
}

type nopCloser struct{ io.Writer }

// Close implements io.Closer.
func (nopCloser) Close() error { return nil }

// use keeps the keys of a handshake, if they were asked for.
func (k *keyring) use(t *table.TLSHandshake) error { return k.keep(t.ClientRandom, nil) }

// useConn keeps the keys of a connection.
func (k *keyring) useConn(c *flow.Conn) error {
	if e := c.Encrypted(); e != nil {
		return k.keep(e.Random, e.Lines)
	}
	return nil
}

func (k *keyring) keep(random []byte, lines []string) error {
	if k.file == nil || len(random) == 0 && len(lines) == 0 {
		return nil
	}
	if len(random) > 0 {
		lines = slices.Concat(k.store.Lines(random), lines)
	}
	for _, line := range lines {
		sum := sha256.Sum256([]byte(line))
		if _, ok := k.used[sum]; ok {
			continue
		}
		if len(k.used) < maxUsed {
			k.used[sum] = struct{}{}
		}
		k.kept++
		if _, err := io.WriteString(k.plain, line+"\n"); err != nil {
			return fmt.Errorf("keeping keys: %w", err)
		}
	}
	return nil
}

// finish closes what was kept.
func (k *keyring) finish() error {
	if k.file == nil {
		return nil
	}
	if err := k.plain.Close(); err != nil {
		return fmt.Errorf("keeping keys: %w", err)
	}
	return k.file.Close()
}

// describe writes where the keys came from into the manifest. Key files themselves never go
// into a bundle: of what they held, only the used lines, and only when asked.
func (k *keyring) describe(m *bundle.Manifest) {
	if k.file != nil {
		sum := k.file.Sum()
		side := bundle.SideInput{Kind: "keys_used", Path: k.file.Rel(), Name: filepath.Base(k.file.Rel()), SHA256: &sum, Size: k.file.Size(),
			SHA256Original: sum, SizeOriginal: k.file.Size()}
		m.SideInputs = append(m.SideInputs, side)
		addCounter(m, "keys", "lines_kept", k.kept)
	}
	m.SideInputs = append(m.SideInputs, k.sides...)
	m.Warnings = append(m.Warnings, k.warnings...)
	if n := k.store.Gone(); n > 0 {
		m.Warnings = append(m.Warnings, countText(n, "key was", "keys were")+" no longer in its file when looked up; the file changed meanwhile")
	}
	for _, s := range k.store.Stats() {
		addCounter(m, "keys", "secrets", s.Keys)
		addCounter(m, "keys", "duplicates", s.Duplicates)
		addCounter(m, "keys", "conflicts", s.Conflicts)
		addCounter(m, "keys", "wrong_lines", s.Wrong)
	}
}
