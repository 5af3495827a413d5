package recorder

import (
	"errors"

	"github.com/pcapsule/pcapsule/recorder/keys"
)

// checkKeys tries whether keys and plaintext can be read. Recording works without.
func checkKeys() Check {
	ends, err := keys.Probe()
	switch {
	case errors.Is(err, keys.ErrNamespace):
		return Check{"keys", Partial, err.Error(), "--keys and --plaintext need the host's process namespace (hostPID: true)"}
	case errors.Is(err, keys.ErrUnsupported):
		return Check{"keys", Partial, err.Error(), ""}
	case err != nil:
		return Check{"keys", Partial, oneLine(err), "--keys and --plaintext do not work. They need CAP_SYS_ADMIN, and CAP_SYS_PTRACE for the programs of other users"}
	case ends != nil:
		return Check{"keys", Partial, "uprobes work; " + oneLine(ends), "--plaintext cannot tell the addresses of a connection on this kernel"}
	}
	return Check{Name: "keys", State: Good, Detail: "uprobes work, for --keys and --plaintext"}
}
