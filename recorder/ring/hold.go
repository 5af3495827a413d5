package ring

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// HoldPrefix begins the names of folders that hold segments only for as long as the
// process lives that made them.
const HoldPrefix = ".pcapsule-snapshot-"

const (
	holdName = ".hold"   // in such a folder; its owner holds it locked
	holdMade = time.Hour // after so long without one the folder is nobody's
)

// hold says that the folder is let go when this process ends, however it ends.
func hold(dir string) (*os.File, error) {
	if !canWrite {
		// Nobody sweeps folders here, so nobody can find the file before it is locked.
		return os.OpenFile(filepath.Join(dir, holdName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	}
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return nil, err
	}
	free, err := lockFile(f)
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

// Hold makes a folder in parent for as long as this process lives, or until release: what
// a snapshot needs on its way is removed even where it is killed.
func Hold(parent string) (dir string, release func() error, err error) {
	if dir, err = os.MkdirTemp(parent, HoldPrefix); err != nil {
		return "", nil, err
	}
	held, err := hold(dir)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, func() error { return letGo(dir, held) }, nil
}

// letGo removes a held folder, with the lock until the end. Where nobody sweeps, the file
// is closed first: Windows removes no open file.
func letGo(dir string, held *os.File) error {
	if !canWrite {
		return errors.Join(held.Close(), os.RemoveAll(dir))
	}
	return errors.Join(os.RemoveAll(dir), held.Close())
}

// Release removes a folder that was made with PinOptions.Hold.
func (p *Pinned) Release() error {
	if p.hold == nil {
		return nil
	}
	err := letGo(p.dir, p.hold)
	p.hold = nil
	return err
}

// SweepHolds removes the folders in dirs that hold segments for processes that are gone:
// retention would leave what is in them for ever. It says how many there were.
func SweepHolds(dirs ...string) (n int, err error) {
	if !canWrite {
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
				err = errors.Join(err, fmt.Errorf("letting go of what an ended snapshot held: %w", staleErr))
			}
		}
	}
	return n, err
}

// abandoned reports whether nobody holds a folder any more. One without a lock is being
// made, unless it is old.
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
	held, err := locked(f)
	return !held, err
}

// sweepHolds looks where holds of this ring lie: in it, or beside it.
func (w *Writer) sweepHolds() {
	n, err := SweepHolds(w.opt.Dir, filepath.Dir(filepath.Clean(w.opt.Dir)))
	if err != nil {
		w.report(err)
	}
	if n > 0 {
		w.report(fmt.Errorf("%d snapshots ended without letting go of segments; retention may have them again", n))
	}
}
