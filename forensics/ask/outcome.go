package ask

import (
	"regexp"
	"strings"
)

// specified matches words that a protocol's specification writes with underscores: NOT_FOUND, NFS4ERR_NOENT, nca_s_fault_ndr.
var specified = regexp.MustCompile(`[A-Z]|^(?:nca|rpc|ept|sec)_`)

// Outcome writes a status for people: our own words, such as no_response, without underscores, and the names of a protocol as
// its specification has them.
func Outcome(status string) string {
	words := strings.Split(status, " ")
	for i, w := range words {
		if !specified.MatchString(w) {
			words[i] = strings.ReplaceAll(w, "_", " ")
		}
	}
	return strings.Join(words, " ")
}
