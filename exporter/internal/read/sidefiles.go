package read

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// sides are the paths of a segment's side files; "" if there is none.
type sides struct {
	owners, events, keys string
}

// sideNames are the extensions of side files in search order.
var sideNames = [...]struct {
	ending string
	of     func(*sides) *string
}{
	{"owners.jsonl", func(s *sides) *string { return &s.owners }},
	{"events", func(s *sides) *string { return &s.events }},
	{"events.jsonl", func(s *sides) *string { return &s.events }},
	{"keys", func(s *sides) *string { return &s.keys }},
	{"keys.age", func(s *sides) *string { return &s.keys }},
}

// findSides looks for the side files of a segment. It skips and lists anything but a regular
// file: a link could lead anywhere.
func (x *input) findSides() (odd []string) {
	name := x.path
	for _, packed := range []string{".gz", ".zst"} {
		name = strings.TrimSuffix(name, packed)
	}
	name = strings.TrimSuffix(name, filepath.Ext(name))
	for _, n := range sideNames {
		path := name + "." + n.ending
		info, err := os.Lstat(path)
		to := n.of(&x.sides)
		switch {
		case errors.Is(err, fs.ErrNotExist) || path == x.path:
		case err != nil:
			odd = append(odd, filepath.Base(path)+": "+errors.Unwrap(err).Error())
		case !info.Mode().IsRegular():
			odd = append(odd, filepath.Base(path)+": not a regular file")
		case *to != "":
			odd = append(odd, filepath.Base(path)+": "+filepath.Base(*to)+" is read instead")
		default:
			*to = path
		}
	}
	return odd
}

// isSide reports whether a file name is that of a side file.
func isSide(name string) bool {
	for _, n := range sideNames {
		if strings.HasSuffix(name, "."+n.ending) {
			return true
		}
	}
	return false
}

// headerOf reads the segment description in the section header at the start of a capture.
func headerOf(head []byte) *ring.Header {
	if !bytes.HasPrefix(head, []byte(sectionMagic)) || len(head) < 28 {
		return nil
	}
	be := head[8] == 0x1a // byte-order magic 1A2B3C4D
	size := int(head[4]) | int(head[5])<<8 | int(head[6])<<16 | int(head[7])<<24
	if be {
		size = int(head[7]) | int(head[6])<<8 | int(head[5])<<16 | int(head[4])<<24
	}
	if size < 28 || size > len(head) {
		return nil
	}
	s, err := pcapng.ParseSection(pcapng.Block{Type: pcapng.BlockSection, BigEndian: be, Body: head[8 : size-4]})
	if err != nil {
		return nil
	}
	for _, c := range s.Comments {
		if h, ok := ring.ParseHeader(c); ok {
			return &h
		}
	}
	return nil
}

// segmentOf is the manifest's description of a segment's header.
func segmentOf(h *ring.Header) *bundle.Segment {
	s := &bundle.Segment{Ring: word(h.Ring), Series: word(h.Series), Sequence: h.Sequence, Recorder: word(h.Recorder), BootID: word(h.BootID),
		Kernel: word(h.Kernel), Filter: word(h.Filter), Only: word(h.Only), Policy: word(h.Policy), Own: word(h.Own)}
	for _, p := range h.Programs[:min(len(h.Programs), bundle.MaxPrograms)] {
		var sum bundle.Digest
		if sum.UnmarshalText([]byte(p.SHA256)) == nil {
			s.Programs = append(s.Programs, bundle.Program{Name: word(p.Name), SHA256: sum})
		}
	}
	return s
}

// word cleans a text from a segment or a ring.
func word(s string) string { return workload.CleanText(s, 1024) }

// readSide passes each line of a side file to take, if its length is at most
// workload.MaxSideLine. Longer lines are counted. A read error ends it.
func readSide(path, kind string, file int32, stop func() error, take func([]byte)) (s bundle.SideInput, oversize int64, err error) {
	s = bundle.SideInput{Kind: kind, FileID: &file, Name: filepath.Base(path)}
	f, err := os.Open(path)
	if err != nil {
		return s, 0, err
	}
	defer f.Close()
	sum := tally{hash: sha256.New()}
	oversize, err = sideLines(io.TeeReader(f, &sum), stop, take)
	if err == nil {
		_, err = io.Copy(io.Discard, io.TeeReader(f, &sum))
	}
	s.SizeOriginal = sum.size
	sum.hash.Sum(s.SHA256Original[:0])
	return s, oversize, err
}

// sideLines splits a text into lines.
func sideLines(r io.Reader, stop func() error, take func([]byte)) (oversize int64, err error) {
	in := bufio.NewReaderSize(r, workload.MaxSideLine+2)
	for n := 0; ; n++ {
		if n&0xfff == 0 {
			if err := stop(); err != nil {
				return oversize, err
			}
		}
		line, err := in.ReadSlice('\n')
		long := false
		for err == bufio.ErrBufferFull {
			long = true
			_, err = in.ReadSlice('\n')
		}
		if err != nil && err != io.EOF {
			return oversize, err
		}
		line = bytes.TrimSpace(line)
		switch {
		case long || len(line) > workload.MaxSideLine:
			oversize++
		case len(line) > 0:
			take(line)
		}
		if err == io.EOF {
			return oversize, nil
		}
	}
}

// sidePath is where a bundle stores the used part of a side file.
func sidePath(kind string, file int32) string {
	return fmt.Sprintf("data/inputs/%s-%03d.jsonl", kind, file)
}

// keepSide writes the used part of a side file into the bundle.
func keepSide(b *bundle.Builder, s *bundle.SideInput, used []byte) error {
	if b == nil || len(used) == 0 {
		return nil
	}
	s.Path = sidePath(s.Kind, *s.FileID)
	f, err := b.Create(s.Path)
	if err != nil {
		return err
	}
	if _, err := f.Write(used); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	sum := f.Sum()
	s.SHA256, s.Size = &sum, f.Size()
	return nil
}

// plainError is an error without its folder, which does not belong in a bundle.
func plainError(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return err.Error()
}
