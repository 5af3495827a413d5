//go:build !linux

package engine

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

func answers() (*os.File, error) { return os.Stdout, nil }

// confine leaves a Ctrl-C to the program, which ends its worker. These systems have no
// sandbox that a process can put itself in with what we may use.
func confine(*wire.Settings) error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	return nil
}

// Confinement says what the kernel has to confine a worker with.
func Confinement() (landlockVersion int, seccomp bool) { return 0, false }
