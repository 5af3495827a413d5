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
		return Check{"keys", Partial, err.Error(), "for --keys and --plaintext share the host's process namespace (hostPID)"}
	case errors.Is(err, keys.ErrUnsupported):
		return Check{"keys", Partial, err.Error(), ""}
	case err != nil:
		return Check{"keys", Partial, oneLine(err), "--keys and --plaintext do not work: uprobes need CAP_SYS_ADMIN, other users' programs CAP_SYS_PTRACE too"}
	case ends != nil:
		return Check{"keys", Partial, "uprobes work; " + oneLine(ends), "--plaintext has no addresses on this kernel"}
	}
	return Check{Name: "keys", State: Good, Detail: "uprobes work, for --keys and --plaintext; pcapsule doctor --keys tells of programs"}
}
