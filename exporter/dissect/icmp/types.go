package icmp

// Types that are decoded here.
const (
	echoReply4 = 0
	quench4    = 4
	redirect4  = 5
	echo4      = 8
	routerAdv4 = 9
	timestamp4 = 13
	mask4      = 17
	extEcho4   = 42

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
