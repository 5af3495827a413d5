package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// relaxed copies DuckDB's archives for linux/arm64 to a folder in dir, and returns the variable CC of
// a compiler that searches this folder first. In the copies, the code computes addresses instead of
// loading them from the global offset table.
//
// Reason: glibc's static library reaches only the first 4,096 entries of that table
// (R_AARCH64_LD64_GOTPAGE_LO15), and DuckDB's library, which is made for shared libraries too, would
// fill 8,000. In a static program no symbol can be replaced, so the table is not needed.
func (t *target) relaxed(dir string) (cc string, err error) {
	if dir, err = filepath.Abs(filepath.Join(dir, "relaxed")); err != nil {
		return "", err
	}
	const bindings = "github.com/duckdb/duckdb-go-bindings/lib/linux-arm64"
	list := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", bindings)
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("looking for %s: %w", bindings, err)
	}
	from, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "*.a"))
	if err != nil {
		return "", err
	}
	if len(from) == 0 {
		return "", fmt.Errorf("%s has no archives", bindings)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for _, file := range from {
		b, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		if err := relaxArchive(b); err != nil {
			return "", fmt.Errorf("%s: %w", file, err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), b, 0o644); err != nil {
			return "", err
		}
	}
	cc = "CC=gcc"
	for _, v := range t.env {
		if strings.HasPrefix(v, "CC=") {
			cc = v
		}
	}
	return cc + " -L" + dir, nil
}

// relaxArchive changes the objects of an archive (ar) in place.
func relaxArchive(b []byte) error {
	const magic, header = "!<arch>\n", 60
	if !bytes.HasPrefix(b, []byte(magic)) {
		return errors.New("not an archive")
	}
	for b = b[len(magic):]; len(b) > 0; {
		if len(b) < header {
			return errors.New("the archive is cut short")
		}
		size, err := strconv.Atoi(strings.TrimSpace(string(b[48:58])))
		if err != nil || size < 0 || size > len(b)-header {
			return fmt.Errorf("the archive has a member of size %q", b[48:58])
		}
		if o := b[header : header+size]; bytes.HasPrefix(o, []byte(elf.ELFMAG)) {
			if err := relaxObject(o); err != nil {
				return fmt.Errorf("member %q: %w", strings.TrimSpace(string(b[:16])), err)
			}
		}
		b = b[min(header+size+size&1, len(b)):] // members begin at even places
	}
	return nil
}

// relaxObject changes an ELF object for AArch64 in place (ELF for the Arm 64-bit Architecture,
// section 5.7):
//
//	adrp xD, :got:S               becomes  adrp xD, S
//	ldr  xD, [xN, :got_lo12:S]    becomes  add  xD, xN, :lo12:S
func relaxObject(b []byte) error {
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return err
	}
	if f.Machine != elf.EM_AARCH64 || f.Type != elf.ET_REL {
		return fmt.Errorf("%s of %s, but must be an object of EM_AARCH64", f.Type, f.Machine)
	}
	const entry = 24 // bytes of Elf64_Rela
	for _, s := range f.Sections {
		if s.Type != elf.SHT_RELA || int(s.Info) >= len(f.Sections) {
			continue
		}
		code := f.Sections[s.Info]
		for at := s.Offset; at+entry <= s.Offset+s.Size; at += entry {
			rela, place := b[at:at+entry], code.Offset+binary.LittleEndian.Uint64(b[at:])
			switch elf.R_AARCH64(binary.LittleEndian.Uint32(rela[8:])) {
			case elf.R_AARCH64_ADR_GOT_PAGE:
				binary.LittleEndian.PutUint32(rela[8:], uint32(elf.R_AARCH64_ADR_PREL_PG_HI21))
			case elf.R_AARCH64_LD64_GOT_LO12_NC:
				if place > uint64(len(b)-4) {
					return fmt.Errorf("section %s: a relocation is outside the file", s.Name)
				}
				load := binary.LittleEndian.Uint32(b[place:])
				if load&^0x3ff != 0xf9400000 { // ldr xD, [xN, #0]
					return fmt.Errorf("section %s, offset %#x: instruction %#08x, but must load from the global offset table", code.Name, place-code.Offset, load)
				}
				binary.LittleEndian.PutUint32(b[place:], 0x91000000|load&0x3ff) // add xD, xN, #0
				binary.LittleEndian.PutUint32(rela[8:], uint32(elf.R_AARCH64_ADD_ABS_LO12_NC))
			}
		}
	}
	return nil
}
