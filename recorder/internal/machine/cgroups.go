//go:build linux

package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/pcapsule/pcapsule/recorder/workload"
)

// Cgroup is a control group of version 2.
type Cgroup struct {
	ID        uint64
	Path      string // below the root, "/" for the root; "" if it was not found
	Container string // ID
	Pod       string // UID
}

// Cgroups knows the paths of control groups by ID, including removed ones: a packet may be
// read after its job has ended. Its size is bounded.
type Cgroups struct {
	Root string

	mu     sync.Mutex
	known  map[uint64]string
	order  []uint64
	walks  int
	unread error // first folder that could not be read, and why
}

const maxGroups = 65536

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	for _, e := range [][2]string{{`\040`, " "}, {`\011`, "\t"}, {`\012`, "\n"}, {`\134`, `\`}} {
		s = strings.ReplaceAll(s, e[0], e[1])
	}
	return s
}

func NewCgroups(root string) *Cgroups {
	g := &Cgroups{Root: root, known: map[uint64]string{}}
	g.walk()
	return g
}

// walk reads the tree. It skips and reports folders that cannot be read; their packets have
// only an ID. Folders that are removed meanwhile are normal.
func (g *Cgroups) walk() {
	g.walks++
	_ = filepath.WalkDir(g.Root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			if g.unread == nil && (name == g.Root || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENODEV)) {
				g.unread = fmt.Errorf("reading control groups: packets of unread groups have an ID instead of a path: %w", err)
			}
			return fs.SkipDir
		}
		if !d.IsDir() {
			return nil
		}
		if id, ok := Inode(name); ok {
			rel, _ := filepath.Rel(g.Root, name)
			g.put(id, path.Join("/", filepath.ToSlash(rel)))
		}
		return nil
	})
}

func (g *Cgroups) put(id uint64, path string) {
	if _, ok := g.known[id]; !ok {
		if len(g.order) >= maxGroups {
			delete(g.known, g.order[0])
			g.order = g.order[1:]
		}
		g.order = append(g.order, id)
	}
	g.known[id] = path
}

// Err returns why a part of the tree could not be read, nil if there was no error.
func (g *Cgroups) Err() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.unread
}

// Add adds a new group that the kernel reported.
func (g *Cgroups) Add(id uint64, path string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.put(id, path)
}

// Paths returns the paths of all known groups.
func (g *Cgroups) Paths() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Values(g.known))
}

// Find returns the group with an ID.
func (g *Cgroups) Find(id uint64) Cgroup {
	if id == 0 {
		return Cgroup{}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	p, ok := g.known[id]
	if !ok {
		g.walk()
		if p, ok = g.known[id]; !ok {
			g.put(id, "") // do not walk the tree for it again
		}
	}
	out := Cgroup{ID: id, Path: p}
	out.Container, out.Pod = workload.ParseCgroup(p)
	return out
}

// Label returns a short name of a group for people.
func (g *Cgroup) Label() string {
	switch {
	case g.Container != "":
		return g.Container[:12]
	case g.Path == "/":
		return "root"
	case g.Path != "":
		return strings.TrimPrefix(g.Path, "/")
	case g.ID != 0:
		return fmt.Sprintf("cgroup-%d", g.ID)
	}
	return "unowned"
}

// Inode returns the inode number of a control group's folder, which is the group's ID.
func Inode(path string) (uint64, bool) {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return 0, false
	}
	return st.Ino, true
}
