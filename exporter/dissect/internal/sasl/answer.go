package sasl

import (
	"encoding/base64"
	"strings"
)

const maxAnswer = 1024 // bytes of an answer that are decoded

// Answer is the name of the user in the client's first answer to a mechanism, in base64: as User, and
// the whole answer of LOGIN.
func Answer(mechanism string, coded []byte) []byte {
	b, err := base64.StdEncoding.DecodeString(string(coded[:min(len(coded), maxAnswer)]))
	if err != nil {
		return nil
	}
	if strings.EqualFold(mechanism, "LOGIN") {
		return b
	}
	return User(mechanism, b)
}
