// Package wire knows ICMP messages as they are sent: the names of types and codes, which of them report that a packet was
// not delivered, and the packet that such an error quotes.
package wire

import (
	_ "embed" // for names.txt
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
)

// Types of errors.
const (
	Unreachable4 = 3
	Exceeded4    = 11
	Parameter4   = 12
	Unreachable6 = 1
	TooBig6      = 2
	Exceeded6    = 3
	Parameter6   = 4

	FragmentationNeeded4 = 4 // code of Unreachable4
)

//go:embed names.txt
var namesText string

var tables = names.Lazy(namesText)

// version is the section of names.txt for an IP version.
func version(v6 bool) string {
	if v6 {
		return "v6"
	}
	return "v4"
}

// TypeName is the name of a message type.
func TypeName(v6 bool, typ uint8) string {
	return tables()[version(v6)].Name(int64(typ), "type_")
}

// CodeName is the name of a code, or "" if the type has no codes.
func CodeName(v6 bool, typ, code uint8) string {
	if t, ok := tables()[version(v6)+" code of "+strconv.Itoa(int(typ))]; ok {
		return t.Name(int64(code), "code_")
	}
	return ""
}

// Report says what became of a packet that an error quotes.
type Report struct {
	Why     string // the code in words, or the type if the codes have no names
	Refused bool   // the destination or a router rejected the packet, and would reject it again
}

// ReportOf is the report of a message, if it says that a packet was not delivered (RFC 792, RFC 4443 section 3). Source
// quench is none: it asks for fewer packets.
func ReportOf(v6 bool, typ, code uint8) (r Report, ok bool) {
	if v6 {
		ok, r.Refused = typ >= Unreachable6 && typ <= Parameter6, typ == Unreachable6 || typ == Parameter6
	} else {
		ok = typ == Unreachable4 || typ == Exceeded4 || typ == Parameter4
		r.Refused = ok && typ != Exceeded4 && (typ != Unreachable4 || code != FragmentationNeeded4)
	}
	if !ok {
		return r, false
	}
	if r.Why = CodeName(v6, typ, code); r.Why == "" {
		r.Why = TypeName(v6, typ)
	}
	return r, true
}
