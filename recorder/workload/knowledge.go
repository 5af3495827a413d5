package workload

import "slices"

// Knowledge is how the owner of a socket is known. docs/format/owners.md states how reliable each
// kind is.
type Knowledge uint8

// Kinds of knowledge. More reliable ones have larger numbers.
const (
	KnownNot        Knowledge = iota
	KnownOther                // a kind that this release does not know
	SharedAtStart             // one of several that had it open when recording began
	ListenerOwner             // owner of the listening socket that it came from
	HolderAtStart             // the only process that had it open when recording began
	CreatorOfSocket           // the task that made it
	Acceptor                  // the task that accepted the connection
	LastUser                  // the task that last wrote, read or connected
	Writer                    // the task that held it when a packet left
)

var knowledgeNames = [...]string{"none", "other", "shared_at_start", "listener_inherited", "holder_at_start", "creator", "acceptor", "last_user", "writer"}

// String is the kind's name in files and tables.
func (k Knowledge) String() string {
	if int(k) < len(knowledgeNames) {
		return knowledgeNames[k]
	}
	return "other"
}

// Guess reports whether the owner is only inferred: it made, inherited, accepted or used the
// socket, but another process may have sent the packet.
func (k Knowledge) Guess() bool { return k < Writer }

// numbered lists the kinds by their numbers in packets (docs/format/owners.md).
var numbered = [...]Knowledge{KnownNot, Writer, LastUser, Acceptor, CreatorOfSocket, ListenerOwner, HolderAtStart, SharedAtStart}

// KnowledgeOf returns the kind with a number.
func KnowledgeOf(number uint8) Knowledge {
	if int(number) < len(numbered) {
		return numbered[number]
	}
	return KnownOther
}

// Number is the number of a kind, or 0 if it has none.
func (k Knowledge) Number() uint8 { return uint8(max(slices.Index(numbered[:], k), 0)) }

// parseKnowledge parses the name of a kind; an unknown name is KnownOther.
func parseKnowledge(word string) Knowledge {
	for k := KnownNot; int(k) < len(knowledgeNames); k++ {
		if knowledgeNames[k] == word {
			return k
		}
	}
	if word == "" {
		return KnownNot
	}
	return KnownOther
}
