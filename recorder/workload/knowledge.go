package workload

import "slices"

// Knowledge says how the owner of a socket is known; docs/format/owners.md says what
// each is worth.
type Knowledge uint8

// Kinds of knowledge, the better ones have the larger numbers.
const (
	KnownNot        Knowledge = iota
	KnownOther                // a kind that this release does not know
	SharedAtStart             // one of several that had it open when recording began
	ListenerOwner             // of the listening socket that it came from
	HolderAtStart             // the only process that had it open when recording began
	CreatorOfSocket           // the task that made it
	Acceptor                  // the task that accepted the connection
	LastUser                  // the task that last wrote, read or connected
	Writer                    // the task that held it when a packet left
)

var knowledgeNames = [...]string{"none", "other", "shared_at_start", "listener_inherited", "holder_at_start", "creator", "acceptor", "last_user", "writer"}

// String is the word that files and tables have for it.
func (k Knowledge) String() string {
	if int(k) < len(knowledgeNames) {
		return knowledgeNames[k]
	}
	return "other"
}

// Guess reports whether the owner is inferred only: it made, inherited, accepted or used the
// socket, and another process may be the one that wrote this.
func (k Knowledge) Guess() bool { return k < Writer }

// numbered are the kinds by the numbers that packets have for them (docs/format/socket.md).
var numbered = [...]Knowledge{KnownNot, Writer, LastUser, Acceptor, CreatorOfSocket, ListenerOwner, HolderAtStart, SharedAtStart}

// KnowledgeOf is the kind with a number.
func KnowledgeOf(number uint8) Knowledge {
	if int(number) < len(numbered) {
		return numbered[number]
	}
	return KnownOther
}

// Number is the number of a kind, 0 where it has none.
func (k Knowledge) Number() uint8 { return uint8(max(slices.Index(numbered[:], k), 0)) }

// ParseKnowledge reads the word of a kind; one that is not known is KnownOther.
func ParseKnowledge(word string) Knowledge {
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
