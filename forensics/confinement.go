package forensics

import "github.com/pcapsule/pcapsule/forensics/internal/confine"

// Confinement returns the kernel features that can confine the process that answers queries: the version of
// Landlock (0 without it), and whether system calls can be filtered.
func Confinement() (landlock int, seccomp bool) { return confine.Features() }
