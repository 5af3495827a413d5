package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/filter"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// Exit codes, the same in every command.
const (
	exitDone        = 0   // also with warnings
	exitOther       = 1   // anything without a code of its own
	exitUsage       = 2   // wrong flags or arguments
	exitNotCapture  = 3   // an input is no capture, or cannot be read
	exitDamaged     = 4   // damaged input, or a warning with --strict
	exitExists      = 5   // the output is there already
	exitDisk        = 6   // the disk is full or broken
	exitNotBundle   = 7   // not a bundle
	exitVerify      = 8   // verification failed
	exitNewer       = 9   // written by a newer release
	exitRefused     = 10  // SQL that is not a query, or reaches outside
	exitSyntax      = 11  // KFL, SQL or a packet filter that does not parse
	exitLimit       = 12  // a limit or deadline was reached
	exitInterrupted = 130 // Ctrl-C
)

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
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &usage), strings.HasPrefix(err.Error(), "unknown command"):
		return exitUsage
	case errors.Is(err, bundle.ErrExists):
		return exitExists
	case errors.As(err, &newer):
		return exitNewer
	case errors.As(err, &damaged):
		return exitDamaged
	case errors.Is(err, bundle.ErrNotBundle):
		return exitNotBundle
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EIO), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EROFS):
		return exitDisk
	case errors.As(err, &syntax):
		return exitSyntax
	case errors.Is(err, pcapng.ErrNotCapture), errors.Is(err, pcapng.ErrTooShort), errors.As(err, &link):
		return exitNotCapture
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return exitNotCapture
	case errors.Is(err, context.DeadlineExceeded):
		return exitLimit
	}
	return exitOther
}

// report prints an error and the next step.
func (e *env) report(ctx context.Context, err error, code int) {
	if code == exitInterrupted {
		fmt.Fprintln(e.err, "interrupted; nothing was left behind")
		return
	}
	fmt.Fprintf(e.err, "error: %v\n", err)
	if h := hint(err, code); h != "" {
		fmt.Fprintf(e.err, "hint: %s\n", h)
	}
}

func hint(err error, code int) string {
	var coded codedError
	if errors.As(err, &coded) && coded.hint != "" {
		return coded.hint
	}
	var syntax *filter.Error
	var link *filter.LinkTypeError
	switch {
	case errors.As(err, &syntax):
		return "--filter takes the language of tcpdump; see pcap-filter(7)"
	case errors.As(err, &link):
		return "leave out --filter, or make a bundle of the captures it fits"
	case code == exitUsage:
		return "see pcapsule --help, or pcapsule COMMAND --help"
	case code == exitExists:
		return "choose another name with -o, or remove it first; pcapsule never writes over a bundle"
	case errors.Is(err, pcapng.ErrNotCapture):
		return "pcapsule reads pcap and pcapng files, also packed with gzip or zstd"
	case code == exitDisk:
		return "nothing was left behind; free space and run the same command again"
	case code == exitNotBundle:
		return "make a bundle with: pcapsule bundle CAPTURE -o NAME.pcapsule"
	case code == exitNewer:
		return "use a newer pcapsule"
	case errors.Is(err, fs.ErrNotExist):
		return "check the path"
	case errors.Is(err, fs.ErrPermission):
		return "check who may read the file"
	}
	return ""
}
