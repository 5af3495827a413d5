package engine

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// answers returns the file for frames. It redirects standard output to standard error, because a
// line that the C library prints must not look like a frame.
func answers() (*os.File, error) {
	fd, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("keeping standard output: %w", err)
	}
	if err := unix.Dup3(2, 1, 0); err != nil {
		return nil, fmt.Errorf("moving standard output: %w", err)
	}
	return os.NewFile(uintptr(fd), "answers"), nil
}
