// Package agekey reads the age keys that flags name: recipients, to whom keys and packages are
// encrypted, and identities, which decrypt them.
package agekey

import (
	"bytes"
	"fmt"
	"os"
	"strings"

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
