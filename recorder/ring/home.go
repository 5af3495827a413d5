package ring

import (
	"fmt"
	"os"
	"path/filepath"
)

// atHome makes sure that the ring's folder is the one that was opened: where a disk
// vanishes, what is left is often the empty folder it was mounted on, and filling that
// would fill the wrong disk. A folder with our records in it is taken as the ring that
// came back. It answers how often that was so.
func (w *Writer) atHome() (moves int, err error) {
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
	free, err := lockFile(lock)
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
	w.lock.Close() // nobody can reach the folder it was in by this path
	w.lock, w.dir = lock, info
	w.move++
	return w.move, nil
}

// reopen goes on in a file that has the same records.
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
		err = fmt.Errorf("%w: its records are not those written so far", ErrElsewhere)
	}
	if err != nil {
		f.Close()
		return err
	}
	c.f.Close() // its disk is gone
	c.f, c.size, c.room, c.torn = f, whole, whole, true
	return nil
}
