//go:build !linux

package engine

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

func answers() (*os.File, error) { return os.Stdout, nil }

// confine ignores Ctrl-C, because the program ends its worker. These systems have no sandbox that a
// process can enter by the means that we use.
func confine(*wire.Settings) error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	return nil
}

// Confinement returns the kernel features that can confine a worker.
func Confinement() (landlockVersion int, seccomp bool) { return 0, false }
