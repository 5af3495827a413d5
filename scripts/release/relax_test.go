package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"testing"
)

// TestLoadsOfTheGlobalOffsetTableAreRelaxed uses an archive of one object, compiled with
// aarch64-linux-gnu-gcc -O2 -fPIC from
//
//	extern int counter;
//	int next(void) { return ++counter; }
func TestLoadsOfTheGlobalOffsetTableAreRelaxed(t *testing.T) {
	archive, err := os.ReadFile("testdata/libgot.a")
	must(t, err)
	at := bytes.Index(archive, []byte(elf.ELFMAG))
	must(t, relaxArchive(archive))
	f, err := elf.NewFile(bytes.NewReader(archive[at:]))
	must(t, err)
	text, err := f.Section(".text").Data()
	must(t, err)
	rela, err := f.Section(".rela.text").Data()
	must(t, err)
	found := map[elf.R_AARCH64]uint32{} // relocation: its instruction
	for ; len(rela) > 0; rela = rela[24:] {
		found[elf.R_AARCH64(binary.LittleEndian.Uint32(rela[8:]))] = binary.LittleEndian.Uint32(text[binary.LittleEndian.Uint64(rela):])
	}
	if len(found) != 2 {
		t.Errorf("%d relocations, must be 2: %v", len(found), found)
	}
	if adrp := found[elf.R_AARCH64_ADR_PREL_PG_HI21]; adrp&0x9f000000 != 0x90000000 {
		t.Errorf("%#08x is not adrp", adrp)
	}
	if add := found[elf.R_AARCH64_ADD_ABS_LO12_NC]; add&0xfffffc00 != 0x91000000 {
		t.Errorf("%#08x is not add xD, xN, #0", add)
	}
	before := bytes.Clone(archive)
	must(t, relaxArchive(archive))
	if !bytes.Equal(before, archive) {
		t.Error("a second time changes something")
	}
}

func TestDamagedArchivesAreErrors(t *testing.T) {
	whole, err := os.ReadFile("testdata/libgot.a")
	must(t, err)
	at := bytes.Index(whole, []byte(elf.ELFMAG))
	f, err := elf.NewFile(bytes.NewReader(whole[at:]))
	must(t, err)
	for _, tt := range []struct {
		name   string
		damage func([]byte) []byte
	}{
		{"no archive", func(b []byte) []byte { return b[1:] }},
		{"cut short", func(b []byte) []byte { return b[:len(b)-200] }},
		{"a size in letters", func(b []byte) []byte { copy(b[8+48:], "x"); return b }},
		{"another machine", func(b []byte) []byte { b[at+18] = machineAMD64; return b }},
		{"another instruction", func(b []byte) []byte {
			clear(b[at+int(f.Section(".text").Offset):][:f.Section(".text").Size])
			return b
		}},
		{"a place outside the file", func(b []byte) []byte { b[at+int(f.Section(".rela.text").Offset)+24+4] = 1; return b }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := relaxArchive(tt.damage(bytes.Clone(whole))); err == nil {
				t.Error("no error")
			}
		})
	}
}
