package recheck

import "golang.org/x/sys/unix"

// Limits of the tool's process.
const (
	maxMemory = 4 << 30 // address space, in bytes
	maxCPU    = 60      // seconds
	maxFile   = 1 << 20 // bytes of each file that it writes
)

// limit limits the resources of a process.
func limit(pid int) error {
	for what, most := range map[int]uint64{unix.RLIMIT_AS: maxMemory, unix.RLIMIT_CPU: maxCPU, unix.RLIMIT_FSIZE: maxFile, unix.RLIMIT_CORE: 0} {
		if err := unix.Prlimit(pid, what, &unix.Rlimit{Cur: most, Max: most}, nil); err != nil {
			return err
		}
	}
	return nil
}
