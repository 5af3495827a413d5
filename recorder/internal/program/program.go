// Package program reads program files and libraries: ELF, and the function tables of Go programs.
//
// Any process may run any file, so no field of a file is trusted, and each read has a limit.
package program

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
)

// Limits of a file.
const (
	maxSegments   = 256
	maxSections   = 4096
	maxTable      = 192 << 20 // one section that is read completely
	maxRelocation = 16 << 20  // relocations examined
	maxNotes      = 64 << 10
)

const (
	machineX86   = 62
	machineARM64 = 183
)

// Errors that a caller may need to distinguish. ErrMachine means that a file is for another
// processor than this machine's.
var (
	Err32Bit     = errors.New("a 32-bit program or library")
	ErrMachine   = errors.New("for another CPU architecture")
	errNoSection = errors.New("no such section")
	errNotELF    = errors.New("not a 64-bit little-endian ELF file")
	errTooLarge  = errors.New("a section is too large")
)

const (
	segmentLoad   = 1
	segmentLinker = 3
)

type segment struct {
	va, off, size uint64
	exec          bool
}

type section struct {
	name          string
	typ, link     uint32
	va, off, size uint64
	allocated     bool
	nameAt        uint32
	entry         uint64
}

// File is a program file or library.
type File struct {
	r        io.ReaderAt
	size     uint64
	machine  uint16
	segments []segment
	sections []section
	Linked   bool // a dynamic linker loads libraries for it
}

func (m *File) read(off, n uint64) ([]byte, error) {
	if n > maxTable {
		return nil, errTooLarge
	}
	if off > m.size || n > m.size-off {
		return nil, fmt.Errorf("reading %d bytes at %d of a file of %d bytes: %w", n, off, m.size, io.ErrUnexpectedEOF)
	}
	b := make([]byte, n)
	if _, err := m.r.ReadAt(b, int64(off)); err != nil && err != io.EOF {
		return nil, err
	}
	return b, nil
}

// Open reads the headers of a file of size bytes. It does not check that the file is for this machine.
func Open(r io.ReaderAt, size int64) (*File, error) {
	m := &File{r: r, size: uint64(max(size, 0))}
	h, err := m.read(0, 64)
	if err == nil && string(h[:4]) == "\x7fELF" && h[4] == 1 {
		return nil, Err32Bit
	}
	if err != nil || string(h[:4]) != "\x7fELF" || h[4] != 2 || h[5] != 1 {
		return nil, errNotELF
	}
	le := binary.LittleEndian
	m.machine = le.Uint16(h[18:])
	if m.machine != machineX86 && m.machine != machineARM64 {
		return nil, ErrMachine
	}
	count := uint64(le.Uint16(h[56:]))
	if le.Uint16(h[54:]) != 56 || count > maxSegments {
		return nil, fmt.Errorf("%d segments of %d bytes; the maximum is %d of 56 bytes", count, le.Uint16(h[54:]), maxSegments)
	}
	b, err := m.read(le.Uint64(h[32:]), count*56)
	if err != nil {
		return nil, fmt.Errorf("reading segments: %w", err)
	}
	for ; len(b) > 0; b = b[56:] {
		switch le.Uint32(b) {
		case segmentLinker:
			m.Linked = true
		case segmentLoad:
			m.segments = append(m.segments, segment{va: le.Uint64(b[16:]), off: le.Uint64(b[8:]), size: le.Uint64(b[32:]), exec: le.Uint32(b[4:])&1 != 0})
		}
	}
	return m, m.readSections(le.Uint64(h[40:]), uint64(le.Uint16(h[60:])), int(le.Uint16(h[62:])), le.Uint16(h[58:]))
}

func (m *File) readSections(off, count uint64, names int, size uint16) error {
	if off == 0 || count == 0 {
		return nil // sections are optional
	}
	if size != 64 || count > maxSections {
		return fmt.Errorf("%d sections of %d bytes; the maximum is %d of 64 bytes", count, size, maxSections)
	}
	b, err := m.read(off, count*64)
	if err != nil {
		return fmt.Errorf("reading sections: %w", err)
	}
	le := binary.LittleEndian
	for ; len(b) > 0; b = b[64:] {
		m.sections = append(m.sections, section{nameAt: le.Uint32(b), typ: le.Uint32(b[4:]), allocated: le.Uint64(b[8:])&2 != 0,
			va: le.Uint64(b[16:]), off: le.Uint64(b[24:]), size: le.Uint64(b[32:]), link: le.Uint32(b[40:]), entry: le.Uint64(b[56:])})
	}
	if names >= len(m.sections) {
		return nil
	}
	table, err := m.read(m.sections[names].off, min(m.sections[names].size, 1<<20))
	if err != nil {
		return fmt.Errorf("reading section names: %w", err)
	}
	for i := range m.sections {
		s := &m.sections[i]
		if uint64(s.nameAt) < uint64(len(table)) {
			name, _, _ := bytes.Cut(table[s.nameAt:], []byte{0})
			s.name = string(name[:min(len(name), 64)])
		}
	}
	return nil
}

func (m *File) section(name string) *section {
	for i := range m.sections {
		if m.sections[i].name == name && m.sections[i].typ != sectionNoBits {
			return &m.sections[i]
		}
	}
	return nil
}

const (
	sectionSymbols = 2
	sectionStrings = 3
	sectionRela    = 4
	sectionNote    = 7
	sectionNoBits  = 8
	sectionDynamic = 11 // dynamic symbols
)

// ForThisMachine reports whether this machine's processor runs the file.
func (m *File) ForThisMachine() bool {
	if runtime.GOARCH == "arm64" {
		return m.machine == machineARM64
	}
	return m.machine == machineX86
}

// Text returns the first bytes, at most the given number, of a section.
func (m *File) Text(section string, most uint64) ([]byte, error) {
	s := m.section(section)
	if s == nil {
		return nil, errNoSection
	}
	return m.read(s.off, min(s.size, most))
}

// Offset returns the file offset, in bytes, of the instruction at an address.
func (m *File) Offset(va uint64) (uint64, bool) { return m.offset(va, true) }

// Entry returns the file offset, in bytes, of the program's first instruction.
func (m *File) Entry() (uint64, error) {
	h, err := m.read(24, 8)
	if err != nil {
		return 0, err
	}
	off, ok := m.Offset(binary.LittleEndian.Uint64(h))
	if !ok {
		return 0, errNotELF
	}
	return off, nil
}

// offset is the place in the file from which an address is mapped.
func (m *File) offset(va uint64, exec bool) (uint64, bool) {
	for _, s := range m.segments {
		if va >= s.va && va-s.va < s.size && (s.exec || !exec) {
			return va - s.va + s.off, true
		}
	}
	return 0, false
}

// bytesAt reads the file's bytes for an address.
func (m *File) bytesAt(va, n uint64) ([]byte, bool) {
	off, ok := m.offset(va, false)
	if !ok {
		return nil, false
	}
	b, err := m.read(off, n)
	return b, err == nil
}

// Functions finds the addresses of functions by name, first in the dynamic symbols.
func (m *File) Functions(names ...string) (map[string]uint64, error) {
	found := map[string]uint64{}
	for _, typ := range []uint32{sectionDynamic, sectionSymbols} {
		for i := range m.sections {
			s := &m.sections[i]
			if s.typ != typ || int64(s.link) >= int64(len(m.sections)) || len(found) == len(names) {
				continue
			}
			if err := m.symbolsIn(s, &m.sections[s.link], names, found); err != nil {
				return found, err
			}
		}
	}
	return found, nil
}

func (m *File) symbolsIn(s, strings *section, names []string, found map[string]uint64) error {
	table, err := m.read(strings.off, strings.size)
	if err != nil {
		return err
	}
	// A linker may store a name as the end of another one, so every place counts.
	at := map[uint32]string{}
	for _, name := range names {
		want := append([]byte(name), 0)
		for from := 0; len(at) < 1024; {
			i := bytes.Index(table[from:], want)
			if i < 0 {
				break
			}
			at[uint32(from+i)] = name
			from += i + 1
		}
	}
	if len(at) == 0 {
		return nil
	}
	table = nil
	list, err := m.read(s.off, s.size)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	for ; len(list) >= 24; list = list[24:] {
		name, ok := at[le.Uint32(list)]
		// A function that is defined here, possibly one whose variant is chosen at start.
		kind := list[4] & 15
		if !ok || kind != 2 && kind != 10 || le.Uint16(list[6:]) == 0 {
			continue
		}
		if _, ok := found[name]; !ok {
			found[name] = le.Uint64(list[8:])
		}
	}
	return nil
}

// relocations calls each with the relocations that add the load address: the place, and the
// addend. It ends when each returns true.
func (m *File) relocations(each func(where, addend uint64) bool) error {
	kind := uint32(8) // R_X86_64_RELATIVE
	if m.machine == machineARM64 {
		kind = 1027
	}
	le := binary.LittleEndian
	left := uint64(maxRelocation)
	for _, s := range m.sections {
		if s.typ != sectionRela || !s.allocated {
			continue
		}
		for off := uint64(0); off+24 <= s.size; {
			n := min((s.size-off)/24, 8192)
			if left < n {
				return errTooLarge
			}
			left -= n
			b, err := m.read(s.off+off, n*24)
			if err != nil {
				return err
			}
			off += n * 24
			for ; len(b) > 0; b = b[24:] {
				if le.Uint32(b[8:]) == kind && le.Uint32(b[12:]) == 0 && each(le.Uint64(b), le.Uint64(b[16:])) {
					return nil
				}
			}
		}
	}
	return nil
}

// pointers reads words as they are after relocation to load address zero.
func (m *File) pointers(at ...uint64) ([]uint64, error) {
	out := make([]uint64, len(at))
	for i, va := range at {
		if b, ok := m.bytesAt(va, 8); ok {
			out[i] = binary.LittleEndian.Uint64(b)
		}
	}
	left := len(at)
	err := m.relocations(func(where, addend uint64) bool {
		if i := slices.Index(at, where); i >= 0 {
			out[i] = addend
			left--
		}
		return left == 0
	})
	return out, err
}

// BuildID is the linker's note, or the SHA-256 of the file if there is none.
func (m *File) BuildID() (string, error) {
	for _, s := range m.sections {
		if s.typ != sectionNote || s.size > maxNotes {
			continue
		}
		b, err := m.read(s.off, s.size)
		if err != nil {
			continue
		}
		le := binary.LittleEndian
		for len(b) >= 12 {
			name, desc, typ := uint64(le.Uint32(b)), uint64(le.Uint32(b[4:])), le.Uint32(b[8:])
			from := 12 + (name+3)&^3
			end := from + (desc+3)&^3
			if end > uint64(len(b)) {
				break
			}
			if typ == 3 && name == 4 && string(b[12:16]) == "GNU\x00" && desc >= 8 && desc <= 64 {
				return hex.EncodeToString(b[from : from+desc]), nil
			}
			b = b[end:]
		}
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(m.r, 0, int64(m.size))); err != nil {
		return "", fmt.Errorf("hashing the file: %w", err)
	}
	return "sha256-" + hex.EncodeToString(h.Sum(nil)), nil
}
