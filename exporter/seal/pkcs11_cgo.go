//go:build cgo

package seal

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ThalesGroup/crypto11"
	pkcs11uri "github.com/stefanberger/go-pkcs11uri"
)

// PKCS11Signer is a private key in a token: a smart card, an HSM, or a cloud key service with a
// PKCS #11 module. The URI (RFC 7512) names the module (module-path), the token or slot-id, the key
// (object or id), and the PIN (pin-source or pin-value). Keys are ECDSA or RSA. done ends the
// session.
func PKCS11Signer(name, uri string) (s Signer, done func(), err error) {
	u := pkcs11uri.New()
	u.SetAllowAnyModule(true)
	if !strings.HasPrefix(uri, "pkcs11:") {
		return s, nil, fmt.Errorf("PKCS #11 URI %q: it does not begin with the scheme pkcs11", uri)
	}
	if err := u.Parse(uri); err != nil {
		return s, nil, fmt.Errorf("PKCS #11 URI: %w", err)
	}
	c, err := tokenConfig(u)
	if err != nil {
		return s, nil, fmt.Errorf("PKCS #11 URI: %w", err)
	}
	token, err := crypto11.Configure(c)
	if err != nil {
		return s, nil, fmt.Errorf("PKCS #11 token: %w", err)
	}
	done = func() { token.Close() }
	if s, err = tokenKey(name, token, u); err != nil {
		done()
		return s, nil, fmt.Errorf("PKCS #11 token: %w", err)
	}
	return s, done, nil
}

// tokenConfig says which token the URI names, and its PIN.
func tokenConfig(u *pkcs11uri.Pkcs11URI) (*crypto11.Config, error) {
	c := &crypto11.Config{MaxSessions: 2}
	var err error
	if c.Path, err = u.GetModule(); err != nil {
		return nil, fmt.Errorf("%w; module-path=/path/of/the/module.so names the module", err)
	}
	if label, ok := u.GetPathAttribute("token", false); ok {
		c.TokenLabel = label
	} else if serial, ok := u.GetPathAttribute("serial", false); ok {
		c.TokenSerial = serial
	} else {
		return nil, errors.New("token or serial is missing")
	}
	if c.Pin, err = u.GetPIN(); err != nil {
		return nil, fmt.Errorf("%w; pin-source=file:/path/of/the/PIN names a file with it", err)
	}
	return c, nil
}

// tokenKey finds the one key that the URI names.
func tokenKey(name string, token *crypto11.Context, u *pkcs11uri.Pkcs11URI) (s Signer, err error) {
	var id, label []byte
	if v, ok := u.GetPathAttribute("id", false); ok {
		id = []byte(v)
	}
	if v, ok := u.GetPathAttribute("object", false); ok {
		label = []byte(v)
	}
	if id == nil && label == nil {
		return s, errors.New("object or id is missing: which key")
	}
	keys, err := token.FindKeyPairs(id, label)
	if err != nil {
		return s, err
	}
	if len(keys) != 1 {
		return s, fmt.Errorf("%d keys have object %q and id %x, expected 1", len(keys), label, id)
	}
	return NewSigner(name, keys[0])
}
