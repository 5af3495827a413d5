package program

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// Reasons why a function of a Go program is not found.
var (
	ErrNotGo      = errors.New("not a Go program")
	ErrNoFunction = errors.New("a Go program without the function")
	ErrGoVersion  = errors.New("a Go program built before Go 1.20, or with an unknown function table")
	errGoText     = errors.New("a Go program whose text address is unknown")
	errGoPrologue = errors.New("a Go program with a function that does not begin with a Go prologue")
)

const (
	maxGoTargets  = 4
	maxGoFuncs    = 8 << 20
	goHeader      = 72
	maxCandidates = 16
)

// Span is the location of a function in the file.
type Span struct{ Off, Size uint64 }

// GoFunctions finds the functions of a Go program whose names have one of the suffixes, in
// the program's own function table: strip keeps it, because panics need it. It returns one
// list for each suffix.
func (m *File) GoFunctions(suffixes ...string) ([][]Span, error) {
	table, va, err := m.goTable()
	if err != nil {
		return nil, err
	}
	text, err := m.goText(va, binary.LittleEndian.Uint64(table[24:]))
	if err != nil {
		return nil, err
	}
	all := make([][]Span, len(suffixes))
	for i, suffix := range suffixes {
		names, err := goNames(table, suffix)
		if err != nil {
			return nil, err
		}
		entries, err := goEntries(table, names)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			off, ok := m.offset(text+uint64(e.from), true)
			if !ok || !m.goPrologue(off) {
				return nil, errGoPrologue
			}
			all[i] = append(all[i], Span{off, uint64(e.to - e.from)})
		}
	}
	return all, nil
}

// goTable finds the function table. PIE programs that Go before 1.26 linked externally have
// no separate section for it.
func (m *File) goTable() (table []byte, va uint64, err error) {
	magic := []byte{0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8}
	if m.machine == machineARM64 {
		magic[6] = 4 // bytes of an instruction
	}
	for _, name := range []string{".gopclntab", ".data.rel.ro.gopclntab"} {
		if s := m.section(name); s != nil {
			b, err := m.read(s.off, s.size)
			if err != nil {
				return nil, 0, err
			}
			if len(b) < goHeader || !bytes.Equal(b[:8], magic) {
				return nil, 0, ErrGoVersion
			}
			return b, s.va, nil
		}
	}
	if m.section(".go.buildinfo") == nil && m.section(".note.go.buildid") == nil {
		return nil, 0, ErrNotGo
	}
	s := m.section(".data.rel.ro")
	if s == nil {
		return nil, 0, ErrGoVersion
	}
	b, err := m.read(s.off, s.size)
	if err != nil {
		return nil, 0, err
	}
	for from := 0; ; {
		i := bytes.Index(b[from:], magic)
		if i < 0 {
			return nil, 0, ErrGoVersion
		}
		from += i
		if from%8 == 0 && len(b)-from >= goHeader {
			if _, err := goNames(b[from:], "main.main"); err == nil || errors.Is(err, ErrNoFunction) {
				return b[from:], s.va + uint64(from), nil
			}
		}
		from++
	}
}

// goNames finds the function names that have a suffix: their offsets in the name table.
func goNames(table []byte, suffix string) (map[uint32]bool, error) {
	le := binary.LittleEndian
	from, to := le.Uint64(table[32:]), le.Uint64(table[40:])
	if from < goHeader || from > to || to > uint64(len(table)) {
		return nil, ErrGoVersion
	}
	names := table[from:to]
	found := map[uint32]bool{}
	want := []byte(suffix + "\x00")
	for at := 0; len(found) < maxGoTargets; {
		i := bytes.Index(names[at:], want)
		if i < 0 {
			break
		}
		at += i
		found[uint32(bytes.LastIndexByte(names[:at], 0)+1)] = true
		at += len(want)
	}
	if len(found) == 0 {
		return nil, ErrNoFunction
	}
	return found, nil
}

// goEntry is where a function begins and where the next one does, from the start of the text.
type goEntry struct{ from, to uint32 }

// goEntries finds the functions that have the names.
func goEntries(table []byte, names map[uint32]bool) ([]goEntry, error) {
	le := binary.LittleEndian
	count, at := le.Uint64(table[8:]), le.Uint64(table[64:])
	if count > maxGoFuncs || at > uint64(len(table)) || count*8 > uint64(len(table))-at {
		return nil, ErrGoVersion
	}
	funcs := table[at:]
	var entries []goEntry
	for i := range count {
		entry, to := le.Uint32(funcs[i*8:]), uint64(le.Uint32(funcs[i*8+4:]))
		if to+8 > uint64(len(funcs)) || le.Uint32(funcs[to:]) != entry {
			continue
		}
		if names[le.Uint32(funcs[to+4:])] && len(entries) < maxGoTargets {
			end := entry
			if (i+1)*8+4 <= uint64(len(funcs)) {
				end = max(end, le.Uint32(funcs[(i+1)*8:])) // the last entry is followed by the end of the text
			}
			entries = append(entries, goEntry{entry, end})
		}
	}
	if len(entries) == 0 {
		return nil, ErrNoFunction // the function is only inlined
	}
	return entries, nil
}

// Offsets in runtime.moduledata, the same since Go 1.16.
const (
	moduleMinPC = 160
	moduleText  = 176
)

// goText finds runtime.text. It need not be the start of section .text, because an external
// linker puts C code first. The module's description contains it; its first word points to the table.
func (m *File) goText(table, header uint64) (uint64, error) {
	var candidates []uint64
	if s := m.section(".go.module"); s != nil {
		candidates = append(candidates, s.va)
	}
	if err := m.relocations(func(where, addend uint64) bool {
		if addend == table {
			candidates = append(candidates, where)
		}
		return len(candidates) >= maxCandidates
	}); err != nil {
		return 0, err
	}
	word := binary.LittleEndian.AppendUint64(nil, table)
	for _, name := range []string{".noptrdata", ".data", ".data.rel.ro"} {
		s := m.section(name)
		if s == nil {
			continue
		}
		b, err := m.read(s.off, s.size)
		if err != nil {
			continue
		}
		for from := 0; len(candidates) < maxCandidates; {
			i := bytes.Index(b[from:], word)
			if i < 0 {
				break
			}
			if from += i; from%8 == 0 {
				candidates = append(candidates, s.va+uint64(from))
			}
			from++
		}
	}
	for _, c := range candidates {
		p, err := m.pointers(c, c+moduleMinPC, c+moduleText)
		if err != nil {
			return 0, err
		}
		if _, exec := m.offset(p[2], true); p[0] == table && p[1] == p[2] && exec {
			return p[2], nil
		}
	}
	if _, exec := m.offset(header, true); header != 0 && exec {
		return header, nil
	}
	return 0, errGoText
}

// goPrologue reports whether a Go function begins at an offset of the file: all but small
// functions first check that the stack is large enough.
func (m *File) goPrologue(off uint64) bool {
	b, err := m.read(off, 16)
	if err != nil {
		return false
	}
	if m.machine == machineARM64 {
		return binary.LittleEndian.Uint32(b) == 0xf9400b90 // MOVD 16(g), R16
	}
	return bytes.HasPrefix(b, []byte{0x49, 0x3b, 0x66, 0x10}) || // CMPQ SP, 16(R14)
		b[0] == 0x4c && b[1] == 0x8d && (bytes.Contains(b[4:], []byte{0x4d, 0x3b, 0x66, 0x10})) // LEAQ -n(SP), R12; CMPQ R12, 16(R14)
}

// IsGo reports whether the file has a Go function table that can be read.
func (m *File) IsGo() bool {
	_, va, _ := m.goTable()
	return va != 0
}

const maxVersion = 64

// GoVersion returns the version of Go that built a program, such as go1.26, or nothing. The caller
// must not print it unchecked.
func (m *File) GoVersion() string {
	// A magic, the size of pointers, flags; since Go 1.18 the version is at offset 32.
	b, err := m.Text(".go.buildinfo", 32+maxVersion)
	if err != nil || len(b) < 34 || b[15]&2 == 0 {
		return ""
	}
	n, at := binary.Uvarint(b[32:])
	if at <= 0 || n > maxVersion || int(n) > len(b)-32-at {
		return ""
	}
	return string(b[32+at : 32+at+int(n)])
}
