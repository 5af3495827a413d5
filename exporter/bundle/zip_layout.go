package bundle

import (
	"archive/zip"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Signatures and sizes of the structures of a ZIP (APPNOTE.TXT sections 4.3.7 to 4.3.16).
const (
	sigMember    = 0x04034b50
	sigData      = 0x08074b50 // after a member's bytes
	sigEntry     = 0x02014b50
	sigEnd64     = 0x06064b50
	sigLocator64 = 0x07064b50
	sigEnd       = 0x06054b50

	sizeMember    = 30
	sizeEntry     = 46
	sizeLocator64 = 20
	sizeEnd       = 22

	extraUnicodePath = 0x7075 // Info-ZIP's other name of a member
	most32           = 0xffffffff
)

// layout reads a ZIP from its first byte to its last. Some programs read only the directory at the end, others only the
// headers of the members, and some search for either anywhere. So both must agree, and the file must contain nothing else.
type layout struct {
	r    io.ReaderAt
	at   int64
	size int64
	err  error
}

// checkLayout checks that a ZIP is exactly the members of its directory.
func checkLayout(r io.ReaderAt, size int64, files []*zip.File) error {
	l := &layout{r: r, size: size}
	for _, f := range inOrder(files) {
		if err := l.member(f); err != nil {
			return &DamagedError{File: f.Name, What: err.Error(), Err: err}
		}
	}
	begin := l.at
	for _, f := range files {
		if err := l.entry(f); err != nil {
			return &DamagedError{File: f.Name, What: err.Error(), Err: err}
		}
	}
	if err := l.end(begin, len(files)); err != nil {
		return &DamagedError{File: "ZIP directory", What: err.Error(), Err: err}
	}
	return nil
}

// inOrder sorts members by their place in the file.
func inOrder(files []*zip.File) []*zip.File {
	type placed struct {
		at int64
		f  *zip.File
	}
	list := make([]placed, len(files))
	for i, f := range files {
		at, err := f.DataOffset()
		if err != nil {
			at = -1 // member says why
		}
		list[i] = placed{at, f}
	}
	slices.SortStableFunc(list, func(a, b placed) int { return cmp.Compare(a.at, b.at) })
	out := make([]*zip.File, len(files))
	for i := range list {
		out[i] = list[i].f
	}
	return out
}

// next reads n bytes; the file may end before.
func (l *layout) next(n int64) []byte {
	if l.err != nil || n > l.size-l.at {
		l.err = cmp.Or(l.err, io.ErrUnexpectedEOF)
		return make([]byte, n)
	}
	b := make([]byte, n)
	_, l.err = io.ReadFull(io.NewSectionReader(l.r, l.at, n), b)
	l.at += n
	return b
}

func u16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }
func u32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

// member checks the header of the member at this place, and passes its bytes.
func (l *layout) member(f *zip.File) error {
	begin := l.at
	head := l.next(sizeMember)
	if l.err != nil || u32(head) != sigMember {
		return fmt.Errorf("bytes at %d that belong to no member", begin)
	}
	name, extra := l.next(int64(u16(head[26:]))), l.next(int64(u16(head[28:])))
	offset, err := f.DataOffset()
	switch {
	case l.err != nil || err != nil || offset != l.at:
		return fmt.Errorf("bytes at %d that belong to no member", begin)
	case string(name) != f.Name || u16(head[6:]) != f.Flags || u16(head[8:]) != f.Method:
		return fmt.Errorf("its header has another name (%.100q) or method than the directory", name)
	}
	if err := otherName(extra, f); err != nil {
		return err
	}
	after := f.Flags&8 != 0
	for _, field := range []struct {
		at    int
		value uint64
	}{{14, uint64(f.CRC32)}, {18, f.CompressedSize64}, {22, f.UncompressedSize64}} {
		if !is32(head[field.at:], field.value) && !(after && u32(head[field.at:]) == 0) { // 0: it follows the member
			return errors.New("the sizes or the checksum in its header differ from the directory")
		}
	}
	if f.CompressedSize64 > uint64(l.size-l.at) {
		return io.ErrUnexpectedEOF
	}
	l.at += int64(f.CompressedSize64)
	if after {
		return l.after(f)
	}
	return nil
}

// is32 reports whether a field of 32 bits has a value, or says that it is elsewhere.
func is32(b []byte, v uint64) bool { return u32(b) == most32 || uint64(u32(b)) == v }

// after passes the sizes that follow a member: with a signature or not, of 64 bits or 32.
func (l *layout) after(f *zip.File) error {
	there := make([]byte, min(24, l.size-l.at))
	if _, err := l.r.ReadAt(there, l.at); err != nil {
		return err
	}
	crc := binary.LittleEndian.AppendUint32(nil, f.CRC32)
	wide := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(crc, f.CompressedSize64), f.UncompressedSize64)
	narrow := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(crc[:4:4], uint32(f.CompressedSize64)), uint32(f.UncompressedSize64))
	for _, sig := range [][]byte{binary.LittleEndian.AppendUint32(nil, sigData), nil} {
		for _, sizes := range [][]byte{wide, narrow} {
			if want := slices.Concat(sig, sizes); bytes.HasPrefix(there, want) {
				l.at += int64(len(want))
				return nil
			}
		}
	}
	return errors.New("the sizes after it differ from the directory")
}

// entry checks an entry of the directory, which the ZIP reader has read.
func (l *layout) entry(f *zip.File) error {
	begin := l.at
	head := l.next(sizeEntry)
	name, extra := l.next(int64(u16(head[28:]))), l.next(int64(u16(head[30:])))
	switch {
	case l.err != nil || u32(head) != sigEntry || string(name) != f.Name:
		return fmt.Errorf("bytes at %d that belong to no entry of the directory", begin)
	case u16(head[32:]) != 0:
		return fmt.Errorf("a comment of %d bytes", u16(head[32:]))
	case u16(head[34:]) != 0:
		return errors.New("it is on another disk")
	}
	return otherName(extra, f)
}

// otherName finds a second name of a member in its extra fields. Bad fields are left to the reader of the member.
func otherName(extra []byte, f *zip.File) error {
	for len(extra) >= 4 {
		id, n := u16(extra), int(u16(extra[2:]))
		if extra = extra[4:]; n > len(extra) {
			break
		}
		if id == extraUnicodePath && (n < 5 || string(extra[5:n]) != f.Name) {
			return fmt.Errorf("it has a second name, %.100q", extra[min(5, n):n])
		}
		extra = extra[n:]
	}
	return nil
}

// end checks the end of the directory that began at begin.
func (l *layout) end(begin int64, files int) error {
	directory := l.at - begin
	at := l.at
	head := l.next(sizeEnd)
	if l.err == nil && u32(head) == sigEnd64 {
		l.at = at
		size := binary.LittleEndian.Uint64(l.next(12)[4:])
		if size > 1<<10 {
			return fmt.Errorf("%d bytes between the directory and its end", size)
		}
		l.next(int64(size))
		if locator := l.next(sizeLocator64); u32(locator) != sigLocator64 || binary.LittleEndian.Uint64(locator[8:]) != uint64(at) {
			return fmt.Errorf("bytes at %d that belong to no member", at)
		}
		at = l.at
		head = l.next(sizeEnd)
	}
	has16 := func(b []byte, v int) bool { return u16(b) == 0xffff || int(u16(b)) == v }
	switch {
	case l.err != nil || u32(head) != sigEnd:
		return fmt.Errorf("bytes at %d that belong to no member", at)
	case u16(head[20:]) != 0 || l.at != l.size:
		return fmt.Errorf("a comment of %d bytes, and %d bytes at the end", u16(head[20:]), l.size-l.at)
	case u16(head[4:]) != 0 || u16(head[6:]) != 0 || !has16(head[8:], files) || !has16(head[10:], files) || !is32(head[12:], uint64(directory)) || !is32(head[16:], uint64(begin)):
		return errors.New("its place or length differs from the end record of the ZIP")
	}
	return nil
}
