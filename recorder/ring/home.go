package ring

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/pcapsule/pcapsule/recorder/ring/internal/durable"
)

// checkFolder makes sure that the ring's folder is still the one that was opened. If a disk is
// unmounted, the path is often the empty folder that it was mounted on, and writing there
// would fill another disk. A folder that contains our records is accepted as the ring after
// a remount. It returns how often that happened.
func (w *Writer) checkFolder() (moves int, err error) {
	w.home.Lock()
	defer w.home.Unlock()
	info, err := os.Stat(w.opt.Dir)
	if err != nil {
		return w.move, err
	}
	if os.SameFile(info, w.dir) {
		return w.move, nil
	}
	lock, err := os.OpenFile(filepath.Join(w.opt.Dir, lockName), os.O_RDWR, 0)
	if err != nil {
		return w.move, fmt.Errorf("%w: %w", ErrElsewhere, err)
	}
	free, err := durable.Lock(lock)
	if err == nil && !free {
		err = ErrLocked
	}
	if err == nil {
		err = w.chain.reopen(filepath.Join(w.opt.Dir, sealsName))
	}
	if err != nil {
		lock.Close()
		return w.move, err
	}
	w.lock.Close() // its folder is no longer at this path
	w.lock, w.dir = lock, info
	w.move++
	return w.move, nil
}

// reopen continues in a file that has the same records.
func (c *chain) reopen(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrElsewhere, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var last *Record
	whole, err := readSeals(f, func(r *Record, _ int64, _ error) error {
		if r != nil {
			last = r
		}
		return nil
	})
	if err == nil && (last == nil || last.Hash != c.prev || last.N+1 != c.next) {
		err = fmt.Errorf("%w: its records are not those of this ring", ErrElsewhere)
	}
	if err != nil {
		f.Close()
		return err
	}
	c.f.Close() // its disk is gone
	c.f, c.size, c.room, c.torn = f, whole, whole, true
	return nil
}

// acquireLock locks the ring until the file is closed or the process ends.
func acquireLock(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening ring: %w", err)
	}
	free, err := durable.Lock(f)
	if err == nil && !free {
		err = fmt.Errorf("opening ring %s: %w", dir, ErrLocked)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
