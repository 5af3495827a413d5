// Package version says which release a program is. It knows no time of build: the same
// commit gives the same program.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Release is the version of all our programs; a build of a release sets it.
var Release = "0.1.0-dev"

// Commit is what a release was built from; a build of a release sets it.
var Commit = ""

// Info is what a program says of itself.
type Info struct {
	Program  string `json:"program"`
	Release  string `json:"release"`
	Commit   string `json:"commit"`   // "unknown" where the build did not say
	Platform string `json:"platform"` // as in linux/amd64
	Go       string `json:"go"`
}

// Of describes the program that runs.
func Of(program string) Info {
	i := Info{program, Release, Commit, runtime.GOOS + "/" + runtime.GOARCH, runtime.Version()}
	if b, ok := debug.ReadBuildInfo(); ok && i.Commit == "" {
		for _, s := range b.Settings {
			if s.Key == "vcs.revision" {
				i.Commit = s.Value
			}
		}
	}
	if i.Commit == "" {
		i.Commit = "unknown"
	}
	return i
}

// Short is the line that --version prints behind the program's name.
func (i Info) Short() string {
	return fmt.Sprintf("%s (commit %s, %s, %s)", i.Release, i.Commit[:min(12, len(i.Commit))], i.Platform, i.Go)
}
