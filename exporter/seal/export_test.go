package seal

import (
	"errors"

	"golang.org/x/mod/sumdb/note"
)

// CheckProof checks a proof for a seal.
func CheckProof(proof, seal []byte, key note.Verifier) error {
	_, c, err := parseProof(proof, seal, []note.Verifier{key})
	if err == nil && len(c.signed) == 0 {
		return errors.New("not signed")
	}
	return err
}
