package recorder

import "golang.org/x/sys/unix"

// inode is the number of a control group's folder, which is the group's id.
func inode(path string) (uint64, bool) {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0, false
	}
	return st.Ino, true
}
