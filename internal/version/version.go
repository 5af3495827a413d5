// Package version has the release of a program. It has no build time, so the same commit gives the
// same program.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Release is the version of all programs; a release build sets it.
var Release = "0.1.0-dev"

// Commit is the commit of a release; a release build sets it.
var Commit = ""

// Info is the version information of a program.
type Info struct {
	Program  string `json:"program"`
	Release  string `json:"release"`
	Commit   string `json:"commit"`   // "unknown" if the build did not set it
	Platform string `json:"platform"` // as in linux/amd64
	Go       string `json:"go"`
}

// Of returns the version information of the running program.
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

// Short is the text that --version prints after the program's name.
func (i Info) Short() string {
	return fmt.Sprintf("%s (commit %s, %s, %s)", i.Release, i.Commit[:min(12, len(i.Commit))], i.Platform, i.Go)
}
