package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/recorder/filter"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/workload"
	"github.com/pcapsule/pcapsule/store"
)

// exitCodes describes the exit codes in the help.
const exitCodes = `Exit codes: 0 done, also with warnings; 1 other; 2 usage; 3 a file that is unreadable or of
another kind; 4 damaged; 5 output exists; 6 disk; 7 not a bundle; 8 verification failed; 9 made
by a newer release; 10 refused SQL; 11 syntax; 12 limit or deadline; 130 interrupted.`

func exitCode(ctx context.Context, err error) int {
	var coded *exit.Error
	var damaged *bundle.DamagedError
	var newer *bundle.NewerSchemaError
	var syntax *filter.Error
	var link *filter.LinkTypeError
	switch {
	case ctx.Err() != nil: // whatever error the interrupt caused
		return exit.Interrupted
	case errors.As(err, &coded):
		return coded.Code
	case errors.Is(err, bundle.ErrExists):
		return exit.Exists
	case errors.As(err, &newer):
		return exit.Newer
	case errors.As(err, &damaged), errors.Is(err, forensics.ErrDamaged), errors.Is(err, pcapng.ErrNoPacket), errors.Is(err, pcapng.ErrBody):
		return exit.Damaged
	case errors.Is(err, bundle.ErrNotBundle):
		return exit.NotBundle
	case exit.IsDisk(err):
		return exit.Disk
	case errors.As(err, &syntax):
		return exit.Syntax
	case errors.Is(err, pcapng.ErrNotCapture), errors.Is(err, pcapng.ErrTooShort), errors.As(err, &link):
		return exit.NotCapture
	case exit.IsNowhere(err), errors.Is(err, fs.ErrPermission):
		return exit.NotCapture
	case errors.Is(err, context.DeadlineExceeded):
		return exit.Limit
	}
	return exit.Other
}

// report prints an error and the next step.
func (e *env) report(err error, code int, command string) {
	if code == exit.Interrupted {
		fmt.Fprintln(e.Err, "interrupted; nothing was left behind")
		return
	}
	if errors.Is(err, exit.ErrReported) {
		return
	}
	text, quoted, several := strings.Cut(console.Lines(exit.Text(err)), "\n") // quoted is a place in a query, which is not wrapped
	_ = console.Row(e.Err, "error: ", text)
	if several {
		fmt.Fprintln(e.Err, quoted)
	}
	if h := hint(err, code, command); h != "" {
		_ = console.Row(e.Err, "hint: ", h)
	}
}

func hint(err error, code int, command string) string {
	var coded *exit.Error
	if errors.As(err, &coded) && coded.Hint != "" {
		return coded.Hint
	}
	var syntax *filter.Error
	var link *filter.LinkTypeError
	var names *workload.SyntaxError
	var address *bundle.AddressError
	var place *fs.PathError
	switch {
	case errors.As(err, &address) && store.IsAddress(address.Address):
		return "pcapsule store fetch copies a bundle from a store"
	case errors.As(err, &address), errors.As(err, &place) && strings.Contains(place.Path, "://"):
		return "download it first; pcapsule reads only addresses of stores: s3://, gs://, azblob:// and file:///"
	case errors.As(err, &syntax):
		return "packet filters use tcpdump's syntax; see pcap-filter(7)"
	case errors.As(err, &names):
		return "--kube reads the output of kubectl get -A -o json; --hosts reads lines such as 10.0.0.7 shop"
	case errors.As(err, &link):
		return "leave out --filter, or make a bundle of the captures that it applies to"
	case code == exit.Usage:
		return "see " + command + " --help"
	case code == exit.Exists:
		return "choose another name, or remove it first; nothing is overwritten"
	case errors.Is(err, pcapng.ErrBomb):
		return "if you trust the file, unpack it yourself and give the unpacked file"
	case errors.Is(err, pcapng.ErrNotCapture), errors.Is(err, pcapng.ErrTooShort), errors.Is(err, exporter.ErrNoInput):
		return "pcapsule reads pcap and pcapng files, also packed with gzip or zstd"
	case exit.IsReadOnly(err):
		return "nothing can be written there: choose another place, or move the bundle to one; TMPDIR names the place of temporary files"
	case code == exit.Disk:
		return "nothing was left behind; free space and run the same command again"
	case code == exit.NotBundle:
		return "make a bundle with: pcapsule bundle CAPTURE -o NAME.pcapsule"
	case code == exit.Damaged:
		return "pcapsule verify lists every problem; ask for the original"
	case code == exit.Newer:
		return "use a newer pcapsule"
	case exit.IsNowhere(err):
		return "check the path"
	case errors.Is(err, fs.ErrPermission):
		return "check who may read the file"
	case code == exit.NotCapture && errors.Is(err, io.ErrUnexpectedEOF):
		return "the file ends before its first packet can be unpacked; copy it again, or ask for the whole file"
	case code == exit.NotCapture:
		return "give a capture file, a folder of them, or - for standard input"
	}
	return ""
}
