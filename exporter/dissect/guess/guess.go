// Package guess names the protocol of a conversation that no dissector reads: by the form of its
// first bytes, or else by its ports as a hint.
//
// A form names a protocol only if other protocols hardly ever begin in the same way. Guess decodes
// no further, keeps no state, and imports no other package of pcapsule.
package guess

// Evidence is the basis of a name, the value of column payload_evidence.
type Evidence string

// The kinds of evidence.
const (
	Content Evidence = "content" // the first bytes have the form of this protocol
	Upgrade Evidence = "upgrade" // the request that opened the conversation names it
	Port    Evidence = "port"    // only the server port suggests it
)

// Head is how many bytes of a side the forms look at.
const Head = 64

// Side is the first bytes of one side.
type Side struct {
	Head []byte // its first bytes, at most Head
	Size int    // length of its first datagram; 0 in a stream
	Next []byte // first 12 bytes of its second datagram; nil in a stream
}

// Start is the beginning of a conversation.
type Start struct {
	Client, Server         Side
	ClientPort, ServerPort uint16
	Datagrams              bool // else a stream
	RolesKnown             bool // a handshake identified client and server
}

// form is the form of the first bytes of a protocol. Its function gets the client's bytes first.
type form struct {
	protocol string
	fits     func(c, s *Side) bool
}

// Guess is the protocol that a conversation probably is. The zero value means that neither content
// nor ports suggest one.
type Guess struct {
	Protocol string
	By       Evidence
	Port     uint16 // the port that suggests it, if By is Port
}

// Of guesses the protocol of a conversation.
func Of(s *Start) Guess {
	forms, ports := streams, streamPorts
	if s.Datagrams {
		forms, ports = datagrams, datagramPorts
	}
	for _, f := range forms {
		if f.fits(&s.Client, &s.Server) || !s.RolesKnown && f.fits(&s.Server, &s.Client) {
			return Guess{Protocol: f.protocol, By: Content}
		}
	}
	if p := ports[s.ServerPort]; p != "" {
		return Guess{p, Port, s.ServerPort}
	}
	if p := ports[s.ClientPort]; p != "" && !s.RolesKnown {
		return Guess{p, Port, s.ClientPort}
	}
	return Guess{}
}
