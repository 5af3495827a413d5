// Package agekey reads the age keys that flags name: recipients, to whom keys and packages are
// encrypted, and identities, which decrypt them.
package agekey

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"filippo.io/age"
	"filippo.io/age/agessh"

	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/recorder/keys"
)

// Recipients returns the recipients that the values of a flag name: age1…, SSH public keys, or
// files of them.
func Recipients(flag string, given []string) (all []age.Recipient, err error) {
	for _, s := range given {
		list, err := keys.Recipients(s)
		if err != nil {
			code := exit.NotCapture // the content of a file
			if strings.HasPrefix(s, "age1") || strings.HasPrefix(s, "ssh-") {
				code = exit.Usage
			}
			return nil, exit.With(fmt.Errorf("%s %q: %w; must be age1…, an SSH public key or a file of recipients", flag, s, err), code, "age-keygen -y KEYFILE prints the recipient of a key")
		}
		all = append(all, list...)
	}
	return all, nil
}

// Identities reads files: those that age-keygen wrote, or SSH private keys without a passphrase.
func Identities(paths []string) (all []age.Identity, err error) {
	for _, path := range paths {
		list, err := identities(path)
		if err != nil {
			return nil, exit.With(fmt.Errorf("reading identity %s: %w", path, err), exit.NotCapture, "give a file that age-keygen wrote, or an SSH private key without a passphrase")
		}
		all = append(all, list...)
	}
	return all, nil
}

// Opening returns what opens a package: the identities in files, and the passphrase in a file if it is named.
func Opening(paths []string, passphrase string) ([]age.Identity, error) {
	all, err := Identities(paths)
	if err != nil || passphrase == "" {
		return all, err
	}
	text, err := Passphrase(passphrase)
	if err != nil {
		return nil, err
	}
	id, err := age.NewScryptIdentity(text)
	if err != nil {
		return nil, err
	}
	id.SetMaxWorkFactor(maxWork)
	return append(all, id), nil
}

// maxWork is the binary logarithm of the work that a package may ask for: 1 GiB of memory. age itself uses 18.
const maxWork = 20

// maxPassphrase is how many bytes a file with a passphrase may have.
const maxPassphrase = 4096

// Passphrase reads a file with a passphrase: its first and only line.
func Passphrase(path string) (string, error) {
	f, err := os.Open(path)
	var data []byte
	if err == nil {
		data, err = io.ReadAll(io.LimitReader(f, maxPassphrase+1))
		err = errors.Join(err, f.Close())
	}
	text := strings.TrimRight(string(data), "\r\n")
	if err == nil && (text == "" || len(data) > maxPassphrase || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl)) {
		err = fmt.Errorf("it must have one line of at most %d bytes of text", maxPassphrase)
	}
	if err != nil {
		return "", exit.With(fmt.Errorf("reading passphrase %s: %w", path, err), exit.NotCapture, "give a file with the passphrase in its only line")
	}
	return text, nil
}

func identities(path string) ([]age.Identity, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(data, []byte("-----BEGIN ")) {
		return age.ParseIdentities(bytes.NewReader(data))
	}
	id, err := agessh.ParseIdentity(data)
	if err != nil {
		return nil, err
	}
	return []age.Identity{id}, nil
}
