package icmp

import (
	_ "embed" // for names.txt
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
)

// Types that are decoded here.
const (
	echoReply4   = 0
	unreachable4 = 3
	quench4      = 4
	redirect4    = 5
	echo4        = 8
	routerAdv4   = 9
	exceeded4    = 11
	parameter4   = 12
	timestamp4   = 13
	mask4        = 17
	extEcho4     = 42

	fragmentationNeeded4 = 4 // code of unreachable4
	errorHeader          = 8 // bytes before the packet that an error quotes

	unreachable6 = 1
	tooBig6      = 2
	exceeded6    = 3
	parameter6   = 4
	echo6        = 128
	listenQuery6 = 130
	listenRep6   = 131
	listenDone6  = 132
	routerSol6   = 133
	routerAdv6   = 134
	neighSol6    = 135
	neighAdv6    = 136
	redirect6    = 137
	nodeQuery6   = 139
	listenRep26  = 143
	extEcho6     = 160
)

// kind says how a message is paired.
type kind struct {
	pairs    bool  // the message has a counterpart
	pair     uint8 // type of the counterpart
	request  bool
	sequence bool // paired by identifier and sequence number
	short    bool // the sequence number has one byte, RFC 8335
	echo     bool // the reply repeats the request's data
}

func kindOf(v6 bool, typ uint8) kind {
	if v6 {
		switch typ {
		case echo6, echo6 + 1:
			return kind{pairs: true, pair: typ ^ 1, request: typ == echo6, sequence: true, echo: true}
		case nodeQuery6:
			return kind{pairs: true, pair: nodeQuery6 + 1, request: true}
		case nodeQuery6 + 1:
			return kind{pairs: true, pair: nodeQuery6}
		case extEcho6, extEcho6 + 1:
			return kind{pairs: true, pair: typ ^ 1, request: typ == extEcho6, sequence: true, short: true}
		}
		return kind{}
	}
	switch typ {
	case echo4:
		return kind{pairs: true, pair: echoReply4, request: true, sequence: true, echo: true}
	case echoReply4:
		return kind{pairs: true, pair: echo4, sequence: true, echo: true}
	case timestamp4, 15, mask4:
		return kind{pairs: true, pair: typ + 1, request: true, sequence: true}
	case timestamp4 + 1, 16, mask4 + 1:
		return kind{pairs: true, pair: typ - 1, sequence: true}
	case extEcho4, extEcho4 + 1:
		return kind{pairs: true, pair: typ ^ 1, request: typ == extEcho4, sequence: true, short: true}
	}
	return kind{}
}

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

// codeName is the name of a code, or "" if the type has no codes.
func codeName(v6 bool, typ, code uint8) string {
	if t, ok := tables()[version(v6)+" code of "+strconv.Itoa(int(typ))]; ok {
		return t.Name(int64(code), "code_")
	}
	return ""
}
