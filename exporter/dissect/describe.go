package dissect

import (
	"embed"
	"path"
	"strings"
)

// described has what programs print about protocols: the limits of each, and what decides its outcomes.
//
//go:embed outcomes.tsv */limits.txt content/*/limits.txt */outcome.txt content/*/outcome.txt
var described embed.FS

// Limit is one limit of a protocol.
type Limit struct {
	What   string `json:"what"`
	Limit  string `json:"limit"`
	Beyond string `json:"beyond,omitempty"` // what happens to input beyond it
}

// lines reads a file in the folder of a protocol; nil if it has none.
func lines(protocol, file string) []string {
	for _, folder := range []string{".", "content"} {
		if text, err := described.ReadFile(path.Join(folder, protocol, file)); err == nil {
			return strings.Split(strings.TrimSpace(string(text)), "\n")
		}
	}
	return nil
}

// Limits reads limits.txt in the folder of a protocol. A line is "WHAT: LIMIT (beyond: WHAT HAPPENS)".
func Limits(protocol string) (list []Limit) {
	for _, line := range lines(protocol, "limits.txt") {
		what, limit, ok := strings.Cut(line, ": ")
		if !ok {
			continue
		}
		limit, beyond, _ := strings.Cut(limit, " (beyond: ")
		list = append(list, Limit{What: what, Limit: limit, Beyond: strings.TrimSuffix(beyond, ")")})
	}
	return list
}

// Outcomes reads outcome.txt in the folder of a protocol: which responses have which outcome, a line each.
func Outcomes(protocol string) []string { return lines(protocol, "outcome.txt") }

// DecidedBy is the field of a response that decides the outcome of a protocol's calls, and its section in the
// specification, as outcomes.tsv lists them.
func DecidedBy(protocol string) (field, section string) {
	text, _ := described.ReadFile("outcomes.tsv")
	for line := range strings.Lines(string(text)) {
		if words := strings.Split(strings.TrimSpace(line), "\t"); words[0] == protocol && len(words) == 3 {
			return words[1], words[2]
		}
	}
	return "", ""
}
