//go:build !windows

package exit

import "syscall"

// Errors of the system: a disk that cannot be written, a path that leads nowhere, a folder in place of a
// file, a pipe without a reader.
var (
	readOnly    = []error{syscall.EROFS}
	diskErrors  = []error{syscall.ENOSPC, syscall.EIO, syscall.EDQUOT, syscall.EROFS}
	badPaths    = []error{syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP, syscall.ENAMETOOLONG}
	folders     = []error{syscall.EISDIR}
	closedPipes = []error{syscall.EPIPE}
)
