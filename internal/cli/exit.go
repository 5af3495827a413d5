package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/cli/console"
	"github.com/pcapsule/pcapsule/internal/cli/exit"
	"github.com/pcapsule/pcapsule/internal/cli/ringcmd"
	"github.com/pcapsule/pcapsule/recorder/filter"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// Exit codes, the same in every command.
const (
	exitDone        = exit.Done        // also with warnings
	exitOther       = exit.Other       // anything without a code of its own
	exitUsage       = exit.Usage       // wrong flags or arguments
	exitNotCapture  = exit.NotCapture  // an input is no capture, or cannot be read
	exitDamaged     = 4                // damaged input, or a warning with --strict
	exitExists      = exit.Exists      // the output is there already
	exitDisk        = exit.Disk        // the disk is full or broken
	exitNotBundle   = 7                // not a bundle
	exitVerify      = exit.Verify      // verification failed
	exitNewer       = exit.Newer       // written by a newer release
	exitRefused     = 10               // SQL that is not a query, or reaches outside
	exitSyntax      = 11               // KFL, SQL or a packet filter that does not parse
	exitLimit       = 12               // a limit or deadline was reached
	exitInterrupted = exit.Interrupted // Ctrl-C
)

// exitCodes tells them to people.
const exitCodes = `Exit codes: 0 done, also with warnings; 1 other; 2 wrong use; 3 not a capture, or unreadable;
4 damaged; 5 output exists; 6 disk; 7 not a bundle; 8 verification failed; 9 made by a newer
release; 10 refused SQL; 11 syntax; 12 limit or deadline; 130 interrupted.`

// usageError is a mistake on the command line.
type usageError struct{ error }

// Unwrap gives the mistake.
func (u usageError) Unwrap() error { return u.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// codedError carries an exit code and a hint that the error itself does not tell.
type codedError struct {
	error
	code int
	hint string
}

// Unwrap gives the error.
func (c codedError) Unwrap() error { return c.error }

func exitCode(ctx context.Context, err error) int {
	var coded codedError
	var usage usageError
	var damaged *bundle.DamagedError
	var newer *bundle.NewerSchemaError
	var syntax *filter.Error
	var link *filter.LinkTypeError
	switch {
	case ctx.Err() != nil: // whatever the interrupt broke
		return exitInterrupted
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, bundle.ErrExists):
		return exitExists
	case errors.As(err, &newer):
		return exitNewer
	case errors.As(err, &damaged), errors.Is(err, forensics.ErrDamaged), errors.Is(err, pcapng.ErrNoPacket), errors.Is(err, pcapng.ErrBody):
		return exitDamaged
	case errors.Is(err, bundle.ErrNotBundle):
		return exitNotBundle
	case diskError(err):
		return exitDisk
	case errors.As(err, &syntax):
		return exitSyntax
	case errors.Is(err, pcapng.ErrNotCapture), errors.Is(err, pcapng.ErrTooShort), errors.As(err, &link):
		return exitNotCapture
	case unreachable(err), errors.Is(err, fs.ErrPermission):
		return exitNotCapture
	case errors.Is(err, context.DeadlineExceeded):
		return exitLimit
	}
	return exitOther
}

// unreachable reports whether a path leads nowhere.
func unreachable(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || isAny(err, badPaths)
}

// diskError reports that the disk is full, broken or cannot be written.
func diskError(err error) bool { return isAny(err, diskErrors) }

func isAny(err error, kinds []error) bool {
	return slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) })
}

// coded is an error of a command that programs share, with its code as this program
// carries it.
func coded(err error) error {
	var told *exit.Error
	if errors.As(err, &told) {
		return codedError{err, told.Code, told.Hint}
	}
	return err
}

// ringError gives errors of rings their exit codes.
func ringError(err error) error { return coded(ringcmd.Error(err)) }

// newOutput refuses an output before any work is done for it.
func newOutput(path string) error { return coded(exit.NewOutput(path)) }

// outputError gives an error of writing the output the exit code of the disk.
func outputError(err error, path string) error { return coded(exit.OutputError(err, path)) }

// report prints an error and the next step.
func (e *env) report(err error, code int, command string) {
	if code == exitInterrupted {
		fmt.Fprintln(e.err, "interrupted; nothing was left behind")
		return
	}
	fmt.Fprintf(e.err, "error: %s\n", lines(err.Error()))
	if h := hint(err, code, command); h != "" {
		fmt.Fprintf(e.err, "hint: %s\n", h)
	}
}

// lines are a message's lines without what a terminal would act on.
func lines(s string) string { return console.Lines(s) }

func hint(err error, code int, command string) string {
	var coded codedError
	if errors.As(err, &coded) && coded.hint != "" {
		return coded.hint
	}
	var syntax *filter.Error
	var link *filter.LinkTypeError
	switch {
	case errors.As(err, &syntax):
		return "filters of packets are in the language of tcpdump; see pcap-filter(7)"
	case errors.As(err, &link):
		return "leave out --filter, or make a bundle of the captures it fits"
	case code == exitUsage:
		return "see " + command + " --help"
	case code == exitExists:
		return "choose another name with -o, or remove it first; nothing is written over"
	case errors.Is(err, pcapng.ErrBomb):
		return "if you trust it, unpack it yourself and give what is in it"
	case errors.Is(err, pcapng.ErrNotCapture), errors.Is(err, pcapng.ErrTooShort), errors.Is(err, exporter.ErrNoInput):
		return "pcapsule reads pcap and pcapng files, also packed with gzip or zstd"
	case code == exitDisk:
		return "nothing was left behind; free space and run the same command again"
	case code == exitNotBundle:
		return "make a bundle with: pcapsule bundle CAPTURE -o NAME.pcapsule"
	case code == exitDamaged:
		return "pcapsule verify lists all that is wrong; ask for the original"
	case code == exitNewer:
		return "use a newer pcapsule"
	case unreachable(err):
		return "check the path"
	case errors.Is(err, fs.ErrPermission):
		return "check who may read the file"
	case code == exitNotCapture:
		return "give a capture file, a folder of them, or - for standard input"
	}
	return ""
}
