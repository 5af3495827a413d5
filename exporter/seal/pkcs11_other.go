//go:build !cgo

package seal

import "errors"

// PKCS11Signer needs a program that was built with a C compiler.
func PKCS11Signer(string, string) (s Signer, done func(), err error) {
	return s, nil, errors.New("PKCS #11 tokens: this program was built without cgo")
}
