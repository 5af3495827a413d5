package bundle

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// LiveCut is a point at which a live run publishes its rows so far.
type LiveCut struct {
	No   int64
	At   time.Time // when it was made
	Now  int64     // newest capture time that was read, ns since 1970 UTC
	Idle bool      // everything in the ring was read
}

// LiveView is a bundle of the last part of a live run. Its folder stays for at least a minute, and
// until two newer views were made.
type LiveView struct {
	Path   string
	Bundle *Bundle
	Cut    int64 // the last cut whose rows it has
	Empty  bool  // it has no call and no coverage row
}

// LiveGap is a time of which a live run lacks packets.
type LiveGap struct {
	From, To       int64  // ns since 1970 UTC
	Reason, Detail string // as in table coverage
}

// FirstOpenCall is the number of the first call of a live view that waits for its answer. It gets its final number, and
// keeps its call_id, when it is finished.
const FirstOpenCall = int64(1) << 40

// ErrNothingLive is the error of a view in whose time nothing was recorded.
var ErrNothingLive = errors.New("nothing was recorded in this time")

// Assemble returns a bundle of files below dir that no manifest lists, such as a view of a live run. It
// writes bundle.json. Packet files are read from packets. Such a bundle has no hashes of its tables and
// cannot be verified.
func Assemble(dir string, m *Manifest, files []string, packets Packets) (*Bundle, error) {
	text, err := m.Encode()
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, filepath.FromSlash(jsonName)), text, 0o600); err != nil {
		return nil, fmt.Errorf("writing %s: %w", jsonName, err)
	}
	b := &Bundle{Dir: dir, Manifest: m, packets: packets}
	for _, f := range files {
		b.files = append(b.files, line{path: f})
	}
	sortLines(b.files)
	return b, nil
}
