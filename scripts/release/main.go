// Command release builds all files of a release on Linux, and checks them.
//
//	release build [-o DIR] [TARGET...]  archives, Debian packages, SBOMs, SHA256SUMS
//	release check [-o DIR] [TARGET...]  starts and inspects what build made
//	release images [-o DIR] [PROGRAM|FOLDER...]  the images, with this machine's compilers and for it
//	release push -repository REPOSITORY [-o DIR]  copies the images to a registry, and the chart that installs them
//	release short                       compiles and checks what needs no other system's C compiler
//	release arch OS/ARCH FILE...        refuses a program or image that is built for another machine
//
// The same commit gives the same bytes: compilers come from pinned Debian suites and PyPI, every file
// has the time of the commit, and order, owners and modes are fixed.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"
)

// usageError is a mistake on the command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

var begun = time.Now()

// step prints the current step, and the seconds since the start.
func step(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%4d s  %s\n", int(time.Since(begun).Seconds()), fmt.Sprintf(format, args...))
}

func main() {
	err := run(os.Args[1:])
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "release:", err)
	if u := (usageError{}); errors.As(err, &u) {
		os.Exit(2)
	}
	os.Exit(1)
}

func run(args []string) error {
	if len(args) == 0 {
		return usagef("missing command: build, check, images, push, short or arch")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	out := flags.String("o", "dist", "folder for archives and images")
	repository := flags.String("repository", "", "with images and push: where they are kept, such as registry.example/team")
	tag := flags.String("tag", "", "with images and push: the tag (default: the version)")
	again := flags.Bool("again", false, "with check: build linux/amd64 a second time from nothing, and compare")
	if err := flags.Parse(args[1:]); err != nil {
		return usageError{err}
	}
	switch args[0] {
	case "build", "check":
		list, err := chosen(flags.Args())
		if err != nil {
			return err
		}
		r, err := describe()
		if err != nil {
			return err
		}
		if args[0] == "build" {
			return build(r, list, *out)
		}
		return check(r, list, *out, *again)
	case "images", "push":
		r, err := describe()
		if err != nil {
			return err
		}
		r.repository, r.imageTag = *repository, *tag
		if args[0] == "push" {
			return push(r, *out)
		}
		return buildImages(r, flags.Args(), *out)
	case "short":
		return short()
	case "arch":
		if flags.NArg() < 2 {
			return usagef("missing argument: release arch OS/ARCH FILE...")
		}
		return checkArch(flags.Arg(0), flags.Args()[1:])
	}
	return usagef("unknown command %s; the commands are build, check, images, push, short and arch", args[0])
}
