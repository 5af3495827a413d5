//go:build unix

package disk

import (
	"io/fs"
	"syscall"
)

// OnDisk is the number of names of a file, and how many of its bytes are on disk; -1 if unknown,
// as in a ZIP.
func OnDisk(info fs.FileInfo) (names, bytes int64) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 1, -1
	}
	return int64(s.Nlink), s.Blocks * 512
}
