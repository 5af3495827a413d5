//go:build unix

package bundle

import (
	"io/fs"
	"syscall"
)

// onDisk is how many names a file has, and how many of its bytes are on the disk; -1 where
// that is not known, as in a ZIP.
func onDisk(info fs.FileInfo) (names, bytes int64) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 1, -1
	}
	return int64(s.Nlink), s.Blocks * 512
}
