package join

import (
	"crypto/sha256"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"filippo.io/age"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Where a bundle keeps the keys that open its packets.
const (
	KeysPath       = "data/keys/keys.log"
	SealedKeysPath = KeysPath + ".age"
)

// maxUsed is how many lines are remembered as kept; beyond, a line may be written twice,
// which a key log allows.
const maxUsed = 1 << 20

// UsedKeys keeps the keys that open connections in the bundle. Nil keeps none.
type UsedKeys struct {
	store *secrets.Store
	file  *bundle.File
	plain io.WriteCloser
	used  map[[sha256.Size]byte]struct{}
	kept  int64
}

// KeepKeys begins the file in which the bundle keeps the keys that are used, encrypted to
// recipients if there are any.
func KeepKeys(b *bundle.Builder, store *secrets.Store, recipients []age.Recipient) (*UsedKeys, error) {
	rel := KeysPath
	if len(recipients) > 0 {
		rel = SealedKeysPath
	}
	file, err := b.Create(rel)
	if err != nil {
		return nil, err
	}
	k := &UsedKeys{store: store, file: file, plain: nopCloser{file}, used: map[[sha256.Size]byte]struct{}{}}
	if len(recipients) > 0 {
		if k.plain, err = age.Encrypt(file, recipients...); err != nil {
			return nil, fmt.Errorf("encrypting keys: %w", err)
		}
	}
	return k, nil
}

type nopCloser struct{ io.Writer }

// Close implements io.Closer.
func (nopCloser) Close() error { return nil }

// keep writes the keys under a client random, and lines of a key log.
func (k *UsedKeys) keep(random []byte, lines []string) error {
	if k == nil || len(random) == 0 && len(lines) == 0 {
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

// Finish closes the file and describes it. Key files themselves never go into a bundle: only their
// used lines do, and only on request.
func (k *UsedKeys) Finish(m *bundle.Manifest) error {
	if k == nil {
		return nil
	}
	if err := k.plain.Close(); err != nil {
		return fmt.Errorf("keeping keys: %w", err)
	}
	if err := k.file.Close(); err != nil {
		return err
	}
	sum := k.file.Sum()
	m.SideInputs = append(m.SideInputs, bundle.SideInput{Kind: "keys_used", Path: k.file.Rel(), Name: filepath.Base(k.file.Rel()), SHA256: &sum,
		Size: k.file.Size(), SHA256Original: sum, SizeOriginal: k.file.Size()})
	m.Accounts.AddCounter("keys", "lines_kept", k.kept)
	return nil
}
