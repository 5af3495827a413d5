package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// release is a commit with its version and time.
type release struct {
	viewer []byte // once it is built

	version string // as in 0.2.0, or 0.1.0-dev+gf5e4b69a1b2c between releases
	commit  string
	time    time.Time // time of the commit, and of every file in an archive
	changed bool      // files differ from the commit

	repository, imageTag string // of images; empty: Docker's default, and the version
}

// describe reads the release from git: a tag vVERSION on the commit, or otherwise the version in the
// source with the commit appended.
func describe() (*release, error) {
	commit, err := git("rev-parse", "HEAD")
	if err != nil {
		return nil, err
	}
	seconds, err := git("show", "-s", "--format=%ct", "HEAD")
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("reading the commit's time: %w", err)
	}
	r := &release{commit: commit, time: time.Unix(n, 0).UTC()}
	if tag, err := exec.Command("git", "describe", "--tags", "--exact-match", "--match", "v[0-9]*").Output(); err == nil {
		r.version = strings.TrimPrefix(strings.TrimSpace(string(tag)), "v")
	} else {
		source, err := os.ReadFile("internal/version/version.go")
		if err != nil {
			return nil, err
		}
		m := regexp.MustCompile(`(?m)^var Release = "([^"]+)"`).FindSubmatch(source)
		if m == nil {
			return nil, fmt.Errorf("internal/version/version.go does not say the release")
		}
		r.version = string(m[1]) + "+g" + commit[:12]
	}
	changed, err := git("status", "--porcelain", "--untracked-files=no")
	if err != nil {
		return nil, err
	}
	if changed != "" {
		r.version, r.changed = r.version+".changed", true
		step("files differ from commit %s: this is no release", commit[:12])
	}
	return r, nil
}

// debian is the version in Debian's order: a pre-release has a tilde.
func (r *release) debian() string { return strings.Replace(r.version, "-", "~", 1) }

func git(args ...string) (string, error) {
	out, err := exec.Command("git", args...).Output()
	if err != nil {
		return "", fmt.Errorf("asking git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}
