package read

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/recorder/workload"
)

// sideTails reads the side files of followed segments while they grow. Each is read before the packets
// that it is about are passed on, as far as the recorder has written it by then.
type sideTails struct {
	live *live
	list map[string]*sideTail // by path
	wait []waited
	next time.Time // when files that did not exist are looked for again

	toldSealed bool
}

// waited is a segment whose side files may still appear.
type waited struct {
	o     *opened
	until time.Time // zero while it is read
}

// sideTail is one side file.
type sideTail struct {
	file  *os.File
	at    int64
	rest  []byte // an incomplete line
	take  func(line []byte)
	done  func() // after the lines of a read; may be nil
	until time.Time
	o     *opened
}

// follow begins to read the side files of a segment.
func (t *sideTails) follow(o *opened) {
	t.wait = append(t.wait, waited{o: o})
	t.next = time.Time{}
}

// leave reads on for a while after a segment has ended, because keys are written after packets.
func (t *sideTails) leave(o *opened) {
	until := time.Now().Add(sidesFor)
	for i := range t.wait {
		if t.wait[i].o == o {
			t.wait[i].until = until
		}
	}
	for _, s := range t.list {
		if s.o == o {
			s.until = until
		}
	}
}

// read reads the new lines of all files.
func (t *sideTails) read(r *Reader) {
	if now := time.Now(); now.After(t.next) {
		t.next = now.Add(sidesEvery)
		t.find(r, now)
	}
	for path, s := range t.list {
		if err := s.read(); err != nil {
			r.warn(filepath.Base(path) + ": " + plainError(err) + "; the part before this is used")
			s.file.Close()
			delete(t.list, path)
		}
	}
}

// find opens new files, and drops those of segments that ended some time ago.
func (t *sideTails) find(r *Reader, now time.Time) {
	left := t.wait[:0]
	for _, w := range t.wait {
		if w.until.IsZero() || now.Before(w.until) {
			left = append(left, w)
			t.openSides(r, w)
		}
	}
	t.wait = left
	for path, s := range t.list {
		if !s.until.IsZero() && now.After(s.until) {
			s.file.Close()
			delete(t.list, path)
		}
	}
}

// openSides opens the side files of a segment that exist.
func (t *sideTails) openSides(r *Reader, w waited) {
	o := w.o
	o.input.sides = sides{}
	o.findSides()
	for _, f := range []struct {
		path string
		make func(*sideTail)
	}{
		{o.sides.owners, func(s *sideTail) { t.ofOwners(r, o, s) }},
		{o.sides.events, func(s *sideTail) { t.ofEvents(r, o, s) }},
		{o.sides.keys, func(s *sideTail) { t.ofKeys(s) }},
	} {
		if f.path == "" || t.list[f.path] != nil {
			continue
		}
		if strings.HasSuffix(f.path, ".age") {
			t.sealed(r, filepath.Base(f.path))
			continue
		}
		file, err := os.Open(f.path)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				r.warn(filepath.Base(f.path) + ": " + plainError(err))
			}
			continue
		}
		s := &sideTail{file: file, o: o, until: w.until}
		f.make(s)
		t.list[f.path] = s
	}
}

// sealed warns once that keys cannot be read.
func (t *sideTails) sealed(r *Reader, name string) {
	if !t.toldSealed {
		t.toldSealed = true
		r.warn(name + ": not used: the keys are encrypted with age, and a live run has no identity")
	}
}

// ofOwners reads processes, workloads and addresses.
func (t *sideTails) ofOwners(r *Reader, o *opened, s *sideTail) {
	s.take = func(line []byte) {
		if o.side != nil {
			o.side.known.Add(line)
		}
	}
	s.done = func() {
		if o.side == nil {
			return
		}
		before := len(o.side.groups)
		o.side.groups = o.side.known.Groups()
		r.addPeers(o)
		if before == len(o.side.groups) {
			return
		}
		for _, i := range o.links {
			r.adoptGroups(o, &r.links[i], before)
		}
	}
}

// ofEvents reads what happened on the machine and in the cluster.
func (t *sideTails) ofEvents(r *Reader, o *opened, s *sideTail) {
	h := &eventsFile{r: r, send: func() {}, node: word(o.header.Node), file: o.id}
	s.take = h.line
}

// ofKeys reads a key log.
func (t *sideTails) ofKeys(s *sideTail) {
	s.take = func(line []byte) { t.grow(line) }
	t.grow(nil)
}

// grow adds lines of a key log.
func (t *sideTails) grow(text []byte) {
	if t.live.keys != nil {
		t.live.keys.Grow(bytes.Split(text, []byte{'\n'}))
	}
}

// close closes all files.
func (t *sideTails) close() {
	for _, s := range t.list {
		s.file.Close()
	}
}

// read passes on the complete lines that were added.
func (s *sideTail) read() error {
	info, err := s.file.Stat()
	if err != nil || info.Size() <= s.at {
		return err
	}
	some := false
	buf := make([]byte, min(info.Size()-s.at, 256<<10))
	for s.at < info.Size() {
		n, err := s.file.ReadAt(buf[:min(info.Size()-s.at, int64(len(buf)))], s.at)
		if n == 0 && err != nil {
			if err == io.EOF {
				break
			}
			return err
		}
		s.at += int64(n)
		text := append(s.rest, buf[:n]...)
		for {
			line, rest, whole := bytes.Cut(text, []byte{'\n'})
			if !whole {
				break
			}
			if text = rest; len(bytes.TrimSpace(line)) > 0 && len(line) <= workload.MaxSideLine {
				s.take(bytes.TrimSpace(line))
				some = true
			}
		}
		if s.rest = append(s.rest[:0], text...); len(s.rest) > workload.MaxSideLine+2 {
			s.rest = s.rest[:workload.MaxSideLine+2] // too long: what follows cannot make it shorter
		}
	}
	if some && s.done != nil {
		s.done()
	}
	return nil
}
