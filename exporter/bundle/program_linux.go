package bundle

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// fileState describes a file so that it differs after every change of the file, and returns when that was. Nobody can set
// the time of the last change of a file or its data (ctime, inode(7)) without setting the machine's clock.
func fileState(file string) (state string, changed time.Time, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", changed, err
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", changed, nil
	}
	changed = time.Unix(s.Ctim.Unix())
	return fmt.Sprint(s.Dev, s.Ino, s.Size, info.ModTime().UnixNano(), changed.UnixNano()), changed, nil
}

// private reports whether only this user or root can have written the file.
func private(file string) bool {
	info, err := os.Lstat(file)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o022 != 0 || info.Size() > 1<<10 {
		return false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && (s.Uid == 0 || int(s.Uid) == os.Geteuid())
}
