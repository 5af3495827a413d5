//go:build linux

package recorder

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/pcapsule/pcapsule/recorder/workload"
)

// group is a control group of version 2.
type group struct {
	id        uint64
	path      string // below the root, "/" is the root; "" where it was not found
	container string // id
	pod       string // uid
}

// groups knows the paths of control groups by id, also of those that are gone: a packet
// may be read after its job has ended. It is bounded.
type groups struct {
	root string

	mu     sync.Mutex
	known  map[uint64]string
	order  []uint64
	walks  int
	unread error // first folder that could not be read, and why
}

const maxGroups = 65536

// cgroupRoot finds where control groups of version 2 are mounted.
func cgroupRoot() (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("looking for control groups: %w", err)
	}
	defer f.Close()
	best := ""
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		// 41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
		front, back, ok := strings.Cut(s.Text(), " - ")
		fields := strings.Fields(front)
		if !ok || len(fields) < 5 || !strings.HasPrefix(back, "cgroup2 ") {
			continue
		}
		mount := unescape(fields[4])
		if fields[3] == "/" { // the whole tree rather than a part of it
			return mount, nil
		}
		if best == "" {
			best = mount
		}
	}
	if err := s.Err(); err != nil {
		return "", fmt.Errorf("looking for control groups: %w", err)
	}
	if best == "" {
		return "", fmt.Errorf("looking for control groups: %w in /proc/self/mountinfo", ErrCgroup)
	}
	return best, nil
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	for _, e := range [][2]string{{`\040`, " "}, {`\011`, "\t"}, {`\012`, "\n"}, {`\134`, `\`}} {
		s = strings.ReplaceAll(s, e[0], e[1])
	}
	return s
}

func newGroups(root string) *groups {
	g := &groups{root: root, known: map[uint64]string{}}
	g.walk()
	return g
}

// walk reads the tree. What cannot be read is left out and remembered; packets of it have
// an id only. Folders that vanish meanwhile are no trouble.
func (g *groups) walk() {
	g.walks++
	_ = filepath.WalkDir(g.root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			if g.unread == nil && (name == g.root || !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENODEV)) {
				g.unread = fmt.Errorf("reading control groups, whose packets have numbers only: %w", err)
			}
			return fs.SkipDir
		}
		if !d.IsDir() {
			return nil
		}
		if id, ok := inode(name); ok {
			rel, _ := filepath.Rel(g.root, name)
			g.put(id, path.Join("/", filepath.ToSlash(rel)))
		}
		return nil
	})
}

func (g *groups) put(id uint64, path string) {
	if _, ok := g.known[id]; !ok {
		if len(g.order) >= maxGroups {
			delete(g.known, g.order[0])
			g.order = g.order[1:]
		}
		g.order = append(g.order, id)
	}
	g.known[id] = path
}

// trouble is what keeps the tree from being read, nil where all is well.
func (g *groups) trouble() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.unread
}

// made takes what the kernel said of a new group.
func (g *groups) made(id uint64, path string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.put(id, path)
}

// paths are those of all groups that are there.
func (g *groups) paths() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Collect(maps.Values(g.known))
}

// find returns the group of an id.
func (g *groups) find(id uint64) group {
	if id == 0 {
		return group{}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	p, ok := g.known[id]
	if !ok {
		g.walk()
		if p, ok = g.known[id]; !ok {
			g.put(id, "") // do not walk for it again
		}
	}
	out := group{id: id, path: p}
	out.container, out.pod = workload.ParseCgroup(p)
	return out
}

// label is a short name of a group for people.
func (g *group) label() string {
	switch {
	case g.container != "":
		return g.container[:12]
	case g.path == "/":
		return "root"
	case g.path != "":
		return strings.TrimPrefix(g.path, "/")
	case g.id != 0:
		return fmt.Sprintf("cgroup-%d", g.id)
	}
	return "unowned"
}
