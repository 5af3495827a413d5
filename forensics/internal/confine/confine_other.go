//go:build !linux

package confine

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
)

// Worker ignores Ctrl-C, because the program ends its worker. These systems have no sandbox that a
// process can enter by the means that we use.
func Worker(*wire.Settings) error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM)
	return nil
}

// Features returns the kernel features that can confine a worker.
func Features() (landlockVersion int, seccomp bool) { return 0, false }
