//go:build !windows

package cli

import (
	"os"
	"syscall"
)

// What the system says of a disk, of a path that leads nowhere, and of a pipe that nobody
// reads any more.
var (
	readOnly    = []error{syscall.EROFS}
	diskErrors  = []error{syscall.ENOSPC, syscall.EIO, syscall.EDQUOT, syscall.EROFS}
	badPaths    = []error{syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP, syscall.ENAMETOOLONG}
	closedPipes = []error{syscall.EPIPE}
)

// escapes reports whether a terminal acts on escape sequences.
func escapes(*os.File) bool { return true }
