package cli

import (
	"fmt"
	"runtime"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/recorder"
)

// questionChecks reports what confines the process that answers questions.
func questionChecks() []recorder.Check {
	if runtime.GOOS != "linux" {
		return []recorder.Check{{Name: "questions", State: recorder.Partial, Detail: "run in a separate process, which the system does not confine"}}
	}
	files := recorder.Check{Name: "questions: files", State: recorder.Partial, Detail: "no Landlock: only DuckDB itself keeps queries away from other files", Change: "use a kernel with Landlock (5.13 or newer) and boot with lsm=landlock,..."}
	calls := recorder.Check{Name: "questions: system calls", State: recorder.Partial, Detail: "no seccomp: only DuckDB itself keeps queries away from the network", Change: "use a kernel with CONFIG_SECCOMP_FILTER on amd64 or arm64"}
	landlock, seccomp := forensics.Confinement()
	if landlock > 0 {
		files = recorder.Check{Name: files.Name, State: recorder.Good, Detail: fmt.Sprintf("Landlock version %d", landlock)}
	}
	if seccomp {
		calls = recorder.Check{Name: calls.Name, State: recorder.Good, Detail: "seccomp"}
	}
	return []recorder.Check{files, calls}
}
