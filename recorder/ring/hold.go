package ring

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/recorder/ring/internal/durable"
)

// HoldPrefix begins the names of folders that hold segments only while the process that
// created them is running.
const HoldPrefix = ".pcapsule-snapshot-"

const (
	holdName = ".hold"   // file in such a folder; locked by the owner
	holdMade = time.Hour // a folder without this file for longer is abandoned
)

// hold marks a folder as held until this process ends, for any reason.
func hold(dir string) (*os.File, error) {
	if !durable.Supported {
		// Folders are not swept here, so the file cannot be found before it is locked.
		return os.OpenFile(filepath.Join(dir, holdName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return nil, err
	}
	free, err := durable.Lock(f)
	if err == nil && !free {
		err = ErrLocked
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, holdName))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Hold creates a folder in parent that exists until release, or until this process ends: the
// temporary files of a snapshot are removed even if it is killed.
func Hold(parent string) (dir string, release func() error, err error) {
	if dir, err = os.MkdirTemp(parent, HoldPrefix); err != nil {
		return "", nil, err
	}
	held, err := hold(dir)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, func() error { return releaseHold(dir, held) }, nil
}

// releaseHold removes a held folder before it releases the lock. If folders are not swept, the file
// is closed first, because Windows cannot remove an open file.
func releaseHold(dir string, held *os.File) error {
	if !durable.Supported {
		return errors.Join(held.Close(), os.RemoveAll(dir))
	}
	return errors.Join(os.RemoveAll(dir), held.Close())
}

// Release removes a folder that was created with PinOptions.Hold.
func (p *Pinned) Release() error {
	if p.hold == nil {
		return nil
	}
	err := releaseHold(p.dir, p.hold)
	p.hold = nil
	return err
}

// SweepHolds removes the folders in dirs that hold segments for ended processes: retention
// would keep those segments forever. It returns the number of folders removed.
func SweepHolds(dirs ...string) (n int, err error) {
	if !durable.Supported {
		return 0, nil
	}
	for _, dir := range dirs {
		list, readErr := os.ReadDir(dir)
		if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) && !errors.Is(readErr, fs.ErrPermission) {
			err = errors.Join(err, readErr)
		}
		for _, e := range list {
			if !strings.HasPrefix(e.Name(), HoldPrefix) || !e.IsDir() {
				continue
			}
			path := filepath.Join(dir, e.Name())
			stale, staleErr := abandoned(path)
			if staleErr == nil && stale {
				if staleErr = os.RemoveAll(path); staleErr == nil {
					n++
				}
			}
			if staleErr != nil && !errors.Is(staleErr, fs.ErrNotExist) && !errors.Is(staleErr, fs.ErrPermission) {
				err = errors.Join(err, fmt.Errorf("releasing the segments of an ended snapshot: %w", staleErr))
			}
		}
	}
	return n, err
}

// abandoned reports whether a folder is no longer held. One without a lock file is being
// created, unless it is old.
func abandoned(dir string) (bool, error) {
	f, err := os.Open(filepath.Join(dir, holdName))
	if errors.Is(err, fs.ErrNotExist) {
		info, err := os.Stat(dir)
		return err == nil && time.Since(info.ModTime()) > holdMade, err
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	held, err := durable.Locked(f)
	return !held, err
}

// sweepHolds sweeps the folders where this ring has holds: the ring and its parent.
func (w *Writer) sweepHolds() {
	n, err := SweepHolds(w.opt.Dir, filepath.Dir(filepath.Clean(w.opt.Dir)))
	if err != nil {
		w.report(err)
	}
	if n > 0 {
		w.report(fmt.Errorf("released the segments that %d ended snapshots still held; retention can remove them again", n))
	}
}
