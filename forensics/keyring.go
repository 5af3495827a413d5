package forensics

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"filippo.io/age"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Files of a bundle with the keys that it was made with.
const (
	keyLog    = "data/keys/keys.log"
	sealedLog = keyLog + ".age"
)

// maxSealed is the largest decrypted size of an encrypted key log, in bytes.
const maxSealed = 256 << 20

// keyring has the secrets of a case.
type keyring struct {
	store      *secrets.Store
	identities []age.Identity
	report     KeyReport
	open       []*os.File
}

func (k *keyring) close() {
	k.store.Close()
	for _, f := range k.open {
		f.Close() // read only: nothing can be lost
	}
}

// keyring collects the secrets from the bundles' packet files, from their key logs, and from key
// files.
func (c *Case) keyring(sel *Selection) (*keyring, error) {
	k := &keyring{store: secrets.NewStore(), identities: sel.Identities}
	if err := k.gather(c.bundles, sel.KeyFiles); err != nil {
		k.close()
		return nil, err
	}
	return k, nil
}

func (k *keyring) gather(bundles []*bundle.Bundle, files []string) error {
	for _, b := range bundles {
		for i := range b.Manifest.Inputs {
			if in := &b.Manifest.Inputs[i]; in.Secrets > 0 {
				if err := k.inside(b, in); err != nil {
					return err
				}
			}
		}
		if err := k.kept(b); err != nil {
			return err
		}
	}
	for _, path := range files {
		if err := k.file(path); err != nil {
			return err
		}
	}
	return k.store.Ready()
}

// file adds a key log, an RSA key, a capture with secrets, or a key log or RSA key encrypted with
// age.
func (k *keyring) file(path string) error {
	err := k.store.AddFile(path)
	sealed, capture := errors.Is(err, secrets.ErrEncrypted), errors.Is(err, secrets.ErrCapture)
	if !sealed && !capture {
		return err
	}
	f, openErr := os.Open(path)
	if openErr != nil {
		return &secrets.SourceError{Name: path, Err: openErr}
	}
	defer f.Close()
	if capture {
		before := len(k.store.Stats())
		err := k.secretsIn(path, func() (io.Reader, error) {
			_, err := f.Seek(0, io.SeekStart)
			return f, err
		})
		if err == nil && len(k.store.Stats()) == before {
			err = &secrets.SourceError{Name: path, Err: fmt.Errorf("%w: a capture without TLS secrets", secrets.ErrNoKey)}
		}
		return err
	}
	if len(k.identities) == 0 {
		return err
	}
	return k.unseal(path, f)
}

// unseal adds a key log that is encrypted with age.
func (k *keyring) unseal(name string, f io.Reader) error {
	r, err := age.Decrypt(f, k.identities...)
	if err != nil {
		return &secrets.SourceError{Name: name, Err: err}
	}
	data, err := io.ReadAll(io.LimitReader(r, maxSealed+1))
	if err == nil && len(data) > maxSealed {
		err = fmt.Errorf("more than %d bytes of keys", maxSealed)
	}
	if err != nil {
		return &secrets.SourceError{Name: name, Err: err}
	}
	return k.store.AddLog(name, bytes.NewReader(data), int64(len(data)))
}

// inside adds the secrets in a packet file.
func (k *keyring) inside(b *bundle.Bundle, in *bundle.Input) error {
	l := &lazyFile{bundle: b, in: in}
	defer func() {
		if l.f != nil {
			l.f.Close() // read only: nothing can be lost
		}
	}()
	return k.secretsIn(in.Path, func() (io.Reader, error) { return io.NewSectionReader(l, 0, in.Size), nil })
}

// secretsIn adds the secrets in a capture; open opens it at its beginning.
func (k *keyring) secretsIn(name string, open func() (io.Reader, error)) error {
	src, err := open()
	if err != nil {
		return &secrets.SourceError{Name: name, Err: err}
	}
	found, err := pcapng.Scan(src, open)
	if err != nil {
		return &secrets.SourceError{Name: name, Err: err}
	}
	k.report.Left += found.Left
	var log bytes.Buffer
	for _, s := range found.List {
		if s.Type != pcapng.SecretsTLS {
			k.report.Other++
			continue
		}
		log.Write(s.Data)
		if !bytes.HasSuffix(s.Data, []byte("\n")) {
			log.WriteByte('\n')
		}
	}
	if log.Len() == 0 {
		return nil
	}
	return k.store.AddLog(name, bytes.NewReader(log.Bytes()), int64(log.Len()))
}

// kept adds the keys in a bundle, if it has any and they can be read.
func (k *keyring) kept(b *bundle.Bundle) error {
	root, err := os.OpenRoot(b.Dir)
	if err != nil {
		return fmt.Errorf("opening keys: %w", err)
	}
	defer root.Close()
	for _, name := range []string{keyLog, sealedLog} {
		info, err := root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && !info.Mode().IsRegular() {
			err = &bundle.DamagedError{File: name, What: "not a regular file"}
		}
		if err != nil {
			return fmt.Errorf("opening keys: %w", err)
		}
		f, err := root.Open(name)
		if err != nil {
			return fmt.Errorf("opening keys: %w", err)
		}
		k.open = append(k.open, f)
		switch {
		case name == keyLog:
			err = k.store.AddLog(name, f, info.Size())
		case len(k.identities) == 0:
			k.report.Sealed++
		default:
			err = k.unseal(name, f)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
