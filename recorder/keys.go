package recorder

import (
	"errors"

	"filippo.io/age"

	"github.com/pcapsule/pcapsule/recorder/keys"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Keys selects the processes whose TLS keys and plaintext are read on this machine, and the
// recipients of the keys. A process is selected if it matches any of the rules.
type Keys struct {
	Select     keys.Selector
	Workloads  []workload.Selector // matched against what Options.Source knows of a process
	Recipients []age.Recipient     // of encrypted key files; without any, files are not encrypted and only their owner can read them
	Layouts    string              // folder for the library layouts found; "" discards them at the end

	// Plaintext selects the processes whose plaintext is read at their calls of a TLS library. Reading
	// costs these programs a few microseconds per call.
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

// KeyStats is the state of reading keys.
type KeyStats struct {
	keys.Counters
	Unplaced  uint64         // keys lost because there was no segment for them
	Processes []keys.Process // selected for keys or plaintext, including those that ended; at most 65,536
	Plaintext *PlainStats    // nil if none is read

	// Captured TLS handshakes over TCP: with a key, without one by reason (once their connection
	// has ended), and not followed because there were too many at once.
	Keyed     uint64
	Keyless   map[keys.Reason]uint64
	Uncounted uint64
}

// PlainStats is the state of reading plaintext.
type PlainStats struct {
	keys.PlainCounters
	Forbidden   uint64 // pieces that the policy removed
	EndsUnknown error  // why addresses are unknown; nil if they are known
}

// TLSProcesses counts the selected processes by state and reason. Each process counts once,
// with its best state.
func (s *KeyStats) TLSProcesses() map[TLSState]int {
	count := map[TLSState]int{}
	for _, p := range s.Processes {
		count[TLSState{p.State, p.Reason}]++
	}
	return count
}

// TLSState is the state of a process, with the reason if there are no keys.
type TLSState struct {
	State  keys.State
	Reason keys.Reason
}
