//go:build linux

package bpf

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Errors of Pins that a caller may need to distinguish.
var (
	ErrNoPins    = errors.New("not a BPF file system")
	ErrPinsInUse = errors.New("another recorder uses it")
)

// Pins is a folder of a BPF file system. What is in it stays in the kernel when its recorder ends: programs continue,
// and their ring buffers wait for the next recorder.
//
//	DIR/hooks/PROGRAM    links; each has the program of the newest generation
//	DIR/owners           whose sockets are
//	DIR/NUMBER/MAP       a generation: ring buffers, counters and ledger of one recorder's programs
//
// One recorder at a time uses it; its lock on the folder ends with its process.
type Pins struct {
	Old []*Generation // of earlier recorders, the oldest first

	dir    string
	lock   *os.File
	number uint64 // of the newest generation
	placed map[string]bool
}

// Generation is what programs of one recorder wrote to.
type Generation struct {
	// Unreadable is the reason why its packets cannot be read; nil if they can.
	Unreadable error
	Ledger     *Ledger // nil if it is unreadable

	dir                     string
	packets, events, counts *ebpf.Map
}

const (
	hooksFolder = "hooks"
	ledgerPin   = "ledger"
)

// OpenPins locks a folder, which it makes if necessary, and finds what earlier recorders left. It returns ErrNoPins or
// ErrPinsInUse.
func OpenPins(dir string) (*Pins, error) {
	lock, err := lockPins(dir, true)
	if err != nil {
		return nil, err
	}
	p := &Pins{dir: dir, lock: lock, placed: map[string]bool{}}
	numbers, err := p.generations()
	if err == nil {
		err = os.MkdirAll(filepath.Join(dir, hooksFolder), 0o700)
	}
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("opening %s: %w", dir, err)
	}
	for _, n := range numbers {
		p.number = n
		g, err := openGeneration(p.generation(n))
		if g != nil && g.Ledger != nil && g.Ledger.words[wordVersion] == 0 { // its recorder ended before any program wrote to it
			g, err = nil, g.Remove()
		}
		if err != nil {
			lock.Close()
			return nil, fmt.Errorf("opening %s: %w", dir, err)
		}
		if g != nil {
			p.Old = append(p.Old, g)
		}
	}
	return p, nil
}

func (p *Pins) generation(n uint64) string { return filepath.Join(p.dir, strconv.FormatUint(n, 10)) }

func lockPins(dir string, make bool) (*os.File, error) {
	var st unix.Statfs_t
	for _, of := range []string{filepath.Dir(dir), dir} {
		if err := unix.Statfs(of, &st); err != nil && of != dir {
			return nil, fmt.Errorf("opening %s: %w", dir, err)
		} else if err == nil && uint32(st.Type) == unix.BPF_FS_MAGIC {
			break
		}
	}
	if uint32(st.Type) != unix.BPF_FS_MAGIC {
		return nil, fmt.Errorf("%s: %w", filepath.Dir(dir), ErrNoPins)
	}
	if make {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("opening %s: %w", dir, err)
		}
	}
	lock, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", dir, err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrPinsInUse
		}
		return nil, fmt.Errorf("locking %s: %w", dir, err)
	}
	return lock, nil
}

// generations lists the existing numbers.
func (p *Pins) generations() (numbers []uint64, err error) {
	list, err := os.ReadDir(p.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		if n, err := strconv.ParseUint(e.Name(), 10, 64); err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// openGeneration returns nil for a generation without a ledger, and removes it. The ledger is pinned last and removed
// first. So without one, a recorder ended while it made or removed the generation: no program wrote to it, or its
// packets were read.
func openGeneration(dir string) (*Generation, error) {
	g := &Generation{dir: dir}
	ledger, err := ebpf.LoadPinnedMap(filepath.Join(dir, ledgerPin), nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, removePins(dir)
	}
	if err == nil {
		if g.Ledger, err = openLedger(ledger); err != nil {
			ledger.Close()
		} else if v := g.Ledger.words[wordVersion]; v != LedgerVersion && v != 0 {
			err = errors.Join(errLedger, g.Ledger.Close())
		}
	}
	for name, m := range g.maps() {
		if err == nil {
			*m, err = ebpf.LoadPinnedMap(filepath.Join(dir, name), nil)
		}
	}
	if err == nil && g.counts.ValueSize() != countersSize {
		err = errLedger
	}
	if g.Unreadable = err; err != nil {
		g.Ledger = nil
	}
	return g, nil
}

func (g *Generation) maps() map[string]**ebpf.Map {
	return map[string]**ebpf.Map{recorderMapPackets: &g.packets, recorderMapEvents: &g.events, recorderMapCounts: &g.counts}
}

// PacketsFD is the ring buffer of packets, and its size.
func (g *Generation) PacketsFD() (fd int, size uint32) { return g.packets.FD(), g.packets.MaxEntries() }

// EventsFD is the ring buffer of events, and its size.
func (g *Generation) EventsFD() (fd int, size uint32) { return g.events.FD(), g.events.MaxEntries() }

// Counts returns the counters of both directions together.
func (g *Generation) Counts() (Counters, error) {
	in, out, err := sumCounts(g.counts)
	in.Add(out)
	return in, err
}

func (g *Generation) close() error {
	var errs []error
	for _, m := range g.maps() {
		if *m != nil {
			errs = append(errs, (*m).Close())
			*m = nil
		}
	}
	if g.Ledger != nil {
		errs = append(errs, g.Ledger.Close())
		g.Ledger = nil
	}
	return errors.Join(errs...)
}

// Remove forgets a generation: the kernel frees its memory once no program has it.
func (g *Generation) Remove() error { return errors.Join(g.close(), removePins(g.dir)) }

func removePins(dir string) error {
	if err := os.Remove(filepath.Join(dir, ledgerPin)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return os.Remove(dir)
}

// owners returns what earlier programs know about sockets, nil if they have nothing in this form.
func (p *Pins) owners(spec *ebpf.MapSpec) *ebpf.Map {
	m, err := ebpf.LoadPinnedMap(filepath.Join(p.dir, recorderMapOwners), nil)
	if err != nil {
		return nil
	}
	if spec.Compatible(m) != nil {
		m.Close()
		return nil
	}
	return m
}

// pin gives new programs a generation.
func (p *Pins) pin(coll *ebpf.Collection, ownersKept bool) (*Ledger, error) {
	p.number++
	dir := p.generation(p.number)
	m, err := ebpf.NewMap(ledgerSpec(coll.Maps[recorderMapPackets].MaxEntries()))
	if err != nil {
		return nil, fmt.Errorf("making a ledger: %w", err)
	}
	l, err := openLedger(m)
	if err == nil {
		err = os.Mkdir(dir, 0o700)
	}
	for _, name := range []string{recorderMapPackets, recorderMapEvents, recorderMapCounts} {
		if err == nil {
			err = coll.Maps[name].Pin(filepath.Join(dir, name))
		}
	}
	if err == nil {
		err = m.Pin(filepath.Join(dir, ledgerPin))
	}
	if owners := filepath.Join(p.dir, recorderMapOwners); err == nil && !ownersKept {
		if err = os.Remove(owners); err == nil || errors.Is(err, fs.ErrNotExist) {
			err = coll.Maps[recorderMapOwners].Pin(owners)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("pinning in %s: %w", p.dir, err)
	}
	return l, nil
}

// place attaches a program to a hook. The link of an earlier recorder continues with it, without an interruption. If a
// link cannot be changed, or is of another control group, a new one follows it, and both exist for a moment.
func (p *Pins) place(name string, prog *ebpf.Program, cgroup string, attach func() (link.Link, error)) error {
	path := filepath.Join(p.dir, hooksFolder, name)
	if old, err := link.LoadPinnedLink(path, nil); err == nil {
		defer old.Close()
		if cgroup != "" && isOf(old, cgroup) && old.Update(prog) == nil {
			p.placed[name] = true
			return nil
		}
	}
	l, err := attach()
	if err != nil {
		return err
	}
	defer l.Close()
	fresh := path + "-new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("pinning %s: %w", name, err)
	}
	if err := l.Pin(fresh); err != nil {
		return fmt.Errorf("pinning %s: %w", name, err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("pinning %s: %w", name, err)
	}
	p.placed[name] = true
	return nil
}

// isOf reports whether a link is attached to a control group.
func isOf(l link.Link, cgroup string) bool {
	var st unix.Stat_t
	info, err := l.Info()
	return err == nil && info.Cgroup() != nil && unix.Stat(cgroup, &st) == nil && info.Cgroup().CgroupId == st.Ino
}

// Prune removes hooks of earlier recorders that this one did not attach.
func (p *Pins) Prune() error {
	dir := filepath.Join(p.dir, hooksFolder)
	list, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("removing old hooks: %w", err)
	}
	for _, e := range list {
		if !p.placed[e.Name()] {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("removing old hooks: %w", err)
			}
		}
	}
	return nil
}

// Close releases the folder for another recorder.
func (p *Pins) Close() error {
	var errs []error
	for _, g := range p.Old {
		errs = append(errs, g.close())
	}
	return errors.Join(append(errs, p.lock.Close())...)
}

// Abandon closes the folder for a recorder that did not begin. It removes what the recorder pinned, unless hooks have
// its programs already: then the next recorder takes over from those.
func (p *Pins) Abandon() error {
	var err error
	switch {
	case len(p.Old) == 0:
		err = clearPins(p.dir)
	case len(p.placed) == 0:
		if err = removePins(p.generation(p.number)); errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	return errors.Join(err, p.Close())
}

// Unpin ends what a recorder left in a folder: its programs are detached, and the contents of their ring buffers are
// lost. It returns ErrNoPins, ErrPinsInUse, or fs.ErrNotExist if nothing was left.
func Unpin(dir string) error {
	lock, err := lockPins(dir, false)
	if err != nil {
		return err
	}
	return errors.Join(clearPins(dir), lock.Close())
}

func clearPins(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("removing %s: %w", dir, err)
	}
	slices.SortFunc(list, func(a, b os.DirEntry) int { return -cmp.Compare(a.Name(), b.Name()) }) // hooks before generations
	for _, e := range list {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			err = removePins(path)
		} else {
			err = os.Remove(path)
		}
		if err != nil {
			return fmt.Errorf("removing %s: %w", dir, err)
		}
	}
	if err := os.Remove(dir); err != nil {
		return fmt.Errorf("removing %s: %w", dir, err)
	}
	return nil
}
