package recorder

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"syscall"

	"github.com/pcapsule/pcapsule/cli/exit"
	node "github.com/pcapsule/pcapsule/recorder"
	"github.com/pcapsule/pcapsule/recorder/filter"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/ring/signingkey"
)

const exitCodes = `Exit codes: 0 done; 1 other; 2 usage; 3 not a ring, or an unreadable file; 5 another recorder
uses the ring, or the output exists; 6 disk; 8 the counters do not balance, or ring verify found
problems; 9 a ring of a newer release; 11 filter syntax; 130 interrupted before recording began.`

// classify returns the exit code and hint of an error: those it carries, or else those of
// its kind.
func classify(ctx context.Context, err error, command string) (code int, hint string) {
	var coded *exit.Error
	if !errors.As(err, &coded) {
		return classifyKind(ctx, err)
	}
	if coded.Hint == "" && coded.Code == exit.Usage {
		return coded.Code, "see " + command + " --help"
	}
	return coded.Code, coded.Hint
}

// classifyKind returns the exit code and hint of an error that carries none.
func classifyKind(ctx context.Context, err error) (code int, hint string) {
	var unbalanced *node.BalanceError
	var syntax *filter.Error
	var network *net.OpError
	switch {
	case errors.As(err, &unbalanced):
		return exit.Verify, "the recording was written; do not rely on its counts of losses"
	case errors.As(err, &syntax):
		return exit.Syntax, "FILTER uses tcpdump's syntax; see pcap-filter(7)"
	case node.Hint(err) != "":
		return exit.Other, node.Hint(err)
	case errors.As(err, &network) && network.Op == "listen":
		return exit.Other, "--metrics and --transfer take HOST:PORT, or :PORT with a port that is free; empty: none"
	case errors.Is(err, signingkey.ErrShared):
		return exit.Other, "make the key's file readable for its owner only: chmod 600 FILE"
	case errors.Is(err, node.ErrPolicy):
		return exit.Usage, "nothing was recorded; docs/guide/recorder.md lists what each rule needs"
	case errors.Is(err, ring.ErrLocked):
		return exit.Exists, "a ring has only one recorder: stop the other, or choose another --ring"
	case errors.Is(err, ring.ErrNewer):
		return exit.Newer, "use a newer pcapsule-recorder, or choose another --ring"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EIO), errors.Is(err, ring.ErrReserve):
		return exit.Disk, "the ring's folder must be on a writable disk; a hostPath volume survives restarts"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return exit.NotCapture, "check the path and its permissions"
	case ctx.Err() != nil:
		return exit.Interrupted, ""
	}
	return exit.Other, ""
}
