package recorder

import (
	"errors"

	"filippo.io/age"

	"github.com/pcapsule/pcapsule/recorder/keys"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Keys says whose TLS keys and plaintext are read on this machine, and who may read keys
// afterwards. A process is chosen by any of the rules.
type Keys struct {
	Select     keys.Selector
	Workloads  []workload.Selector // chosen by who they are, as Options.Source knows it
	Recipients []age.Recipient     // key files are encrypted to; none leaves them in clear, for their owner only
	Layouts    string              // folder where found layouts of libraries are kept; "" forgets them at the end

	// Plaintext says whose plaintext is read where programs give it to a TLS library and get
	// it from one, which costs these programs some microseconds a call.
	Plaintext          keys.Selector
	PlaintextWorkloads []workload.Selector
}

func (k *Keys) wantKeys() bool  { return !k.Select.Empty() || len(k.Workloads) > 0 }
func (k *Keys) wantPlain() bool { return !k.Plaintext.Empty() || len(k.PlaintextWorkloads) > 0 }

func (k *Keys) check() error {
	if !k.wantKeys() && !k.wantPlain() {
		return keys.ErrNobody
	}
	if err := errors.Join(k.Select.Check(), k.Plaintext.Check()); err != nil {
		return err
	}
	for _, list := range [][]workload.Selector{k.Workloads, k.PlaintextWorkloads} {
		for i := range list {
			if list[i].Empty() {
				return keys.ErrNobody
			}
			if err := list[i].Check(); err != nil {
				return &keys.SelectorError{Rule: list[i].String(), Err: err}
			}
		}
	}
	return nil
}

// KeyStats is how the reading of keys stands.
type KeyStats struct {
	keys.Counters
	Unplaced  uint64         // keys that found no file: no segment was begun for them
	Processes []keys.Process // that were chosen, also those that ended; at most 65,536; of keys and plaintext
	Plaintext *PlainStats    // nil where none is read
}

// PlainStats is how the reading of plaintext stands.
type PlainStats struct {
	keys.PlainCounters
	Forbidden   uint64 // of the pieces that are written: left out by the policy
	EndsUnknown error  // why no addresses are known, where that is so
}

// TLSProcesses counts chosen processes by state and reason: each once, with the best that
// is known of it.
func (s *KeyStats) TLSProcesses() map[TLSState]int {
	count := map[TLSState]int{}
	for _, p := range s.Processes {
		count[TLSState{p.State, p.Reason}]++
	}
	return count
}

// TLSState is the state of a process, with the reason where there are no keys.
type TLSState struct {
	State  keys.State
	Reason keys.Reason
}
