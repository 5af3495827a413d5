package recorder

import (
	"filippo.io/age"

	"github.com/pcapsule/pcapsule/recorder/keys"
)

// Keys says whose TLS keys are read on this machine, and who may read them afterwards.
type Keys struct {
	Select     keys.Selector
	Recipients []age.Recipient // key files are encrypted to; none leaves them in clear, for their owner only
}

// KeyStats is how the reading of keys stands.
type KeyStats struct {
	keys.Counters
	Unplaced  uint64         // keys that found no file: no segment was begun for them
	Processes []keys.Process // that were chosen, also those that ended; at most 65,536
}
