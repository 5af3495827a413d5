// Package signingkey reads and makes the ed25519 keys that sign the records of a ring. It refuses a
// private key that others can read.
package signingkey

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/pcapsule/pcapsule/internal/whole"
)

// Load reads the node's signing key, PKCS #8 in PEM, or creates it if the file does not
// exist. It rejects a file that others can read.
func Load(path string) (ed25519.PrivateKey, error) {
	key, err := readKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	_, key, err = ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("creating key %s: %w", path, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("creating key %s: %w", path, err)
	}
	err = whole.CreateDurably(path, 0o600, whole.Text(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	if errors.Is(err, fs.ErrExist) {
		return readKey(path) // another process was faster
	}
	if err != nil {
		return nil, fmt.Errorf("creating key %s: %w", path, err)
	}
	return key, nil
}

// None instead of a path means that records are not signed.
const None = "none"

// OfRing returns the key that signs a ring's records, and its file: the named one, or the
// one next to the ring if the name is empty. It creates a missing file. None returns nil.
func OfRing(named, dir string) (ed25519.PrivateKey, string, error) {
	if named == None {
		return nil, "", nil
	}
	if named == "" {
		named = filepath.Clean(dir) + ".key"
	}
	key, err := Load(named)
	return key, named, err
}

// ErrShared means that others can read a private key.
var ErrShared = errors.New("others can read it")

// maxKeyFile is the size of a key's file in bytes.
const maxKeyFile = 64 << 10

// ReadPrivate reads the file of a private key. It refuses one that others can read (ErrShared)
// and one of more than 64 KiB.
func ReadPrivate(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading key: %w", err)
	case info.IsDir():
		return nil, fmt.Errorf("reading key: %w", &fs.PathError{Op: "read", Path: path, Err: syscall.EISDIR})
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("reading key %s: mode %o instead of 600: %w", path, info.Mode().Perm(), ErrShared)
	case info.Size() > maxKeyFile:
		return nil, fmt.Errorf("reading key %s: %d bytes are too many for a key", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading key: %w", err)
	}
	return text, nil
}

func readKey(path string) (ed25519.PrivateKey, error) {
	text, err := ReadPrivate(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("reading key %s: it must be a PEM block PRIVATE KEY", path)
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading key %s: %w", path, err)
	}
	key, ok := any.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("reading key %s: it is a %T; only ed25519 is supported", path, any)
	}
	return key, nil
}

// ReadPublic reads a key for verification: PEM of a public or private ed25519 key, or
// base64 as in records.
func ReadPublic(path string) (ed25519.PublicKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading key: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("reading key %s: %w", path, err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		if key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text))); err == nil && len(key) == ed25519.PublicKeySize {
			return key, nil
		}
		return nil, fmt.Errorf("reading key %s: it must be an ed25519 key as PEM or base64", path)
	}
	if key, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
		if key, ok := key.(ed25519.PublicKey); ok {
			return key, nil
		}
	}
	if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		if key, ok := key.(ed25519.PrivateKey); ok {
			return key.Public().(ed25519.PublicKey), nil
		}
	}
	return nil, fmt.Errorf("reading key %s: it must be an ed25519 key", path)
}
