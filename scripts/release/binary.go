package main

import (
	"archive/tar"
	"compress/gzip"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
)

// A header is the information in a program for the system that starts it.
type header struct {
	os, machine string
	libraries   []string // loaded by the system's loader
	static      bool
}

var errNoProgram = errors.New("no program of Linux, Windows or macOS")

// inspect reads the header of a program for Linux, Windows or macOS.
func inspect(name string) (*header, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := inspectProgram(f)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return b, nil
}

func inspectProgram(f io.ReaderAt) (*header, error) {
	var magic [4]byte
	if _, err := f.ReadAt(magic[:], 0); err != nil {
		return nil, err
	}
	switch {
	case string(magic[:]) == elf.ELFMAG:
		e, err := elf.NewFile(f)
		if err != nil {
			return nil, err
		}
		libs, err := e.ImportedLibraries()
		loader := slices.ContainsFunc(e.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
		return &header{"linux", e.Machine.String(), libs, !loader && len(libs) == 0}, err
	case string(magic[:2]) == "MZ":
		p, err := pe.NewFile(f)
		if err != nil {
			return nil, err
		}
		symbols, err := p.ImportedSymbols() // debug/pe lists libraries only here
		var libs []string
		for _, s := range symbols {
			_, lib, _ := strings.Cut(s, ":")
			if lib = strings.ToLower(lib); !slices.Contains(libs, lib) {
				libs = append(libs, lib)
			}
		}
		machine := fmt.Sprintf("machine %#x", p.Machine)
		if p.Machine == pe.IMAGE_FILE_MACHINE_AMD64 {
			machine = "IMAGE_FILE_MACHINE_AMD64"
		}
		return &header{"windows", machine, libs, false}, err
	case string(magic[:]) == "\xcf\xfa\xed\xfe":
		m, err := macho.NewFile(f)
		if err != nil {
			return nil, err
		}
		libs, err := m.ImportedLibraries()
		return &header{"darwin", m.Cpu.String(), libs, false}, err
	}
	return nil, errNoProgram
}

// checkProgram compares a program with the requirements of its target.
func (t *target) checkProgram(name string) error {
	b, err := inspect(name)
	if err != nil {
		return err
	}
	if b.os != t.os || b.machine != t.machine {
		return fmt.Errorf("%s is for %s, %s; want %s, %s", name, b.os, b.machine, t.os, t.machine)
	}
	seen := map[string]bool{}
	for _, lib := range b.libraries {
		if !slices.ContainsFunc(t.libc, func(pattern string) bool { ok, _ := path.Match(pattern, lib); return ok }) {
			return fmt.Errorf("%s needs %s, which not every machine of %s has", name, lib, t.os)
		}
		if seen[lib] {
			return fmt.Errorf("%s names %s twice", name, lib)
		}
		seen[lib] = true
	}
	return nil
}

// checkArch rejects programs and images for a different machine than claimed. An image is a tar as
// written by docker save or an OCI layout tool; it checks every program in the layers, and the
// configuration.
func checkArch(claim string, files []string) error {
	var want *target
	for _, t := range targets {
		if t.name() == claim {
			want = t
		}
	}
	if want == nil {
		return usagef("unknown platform %s; the platforms are %s", claim, targetNames())
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		n, err := 1, want.checkMachine(f)
		if errors.Is(err, errNoProgram) {
			n, err = want.checkImage(f)
		}
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if n == 0 {
			return fmt.Errorf("%s: no program in it", name)
		}
		fmt.Printf("%s: %d programs for %s\n", name, n, claim)
	}
	return nil
}

func (t *target) checkMachine(f io.ReaderAt) error {
	b, err := inspectProgram(f)
	if err != nil {
		return err
	}
	if b.os != t.os || b.machine != t.machine {
		return fmt.Errorf("the program is for %s, %s; want %s, %s", b.os, b.machine, t.os, t.machine)
	}
	return nil
}

// checkImage counts the programs of an image, including nested layers.
func (t *target) checkImage(r io.Reader) (programs int, err error) {
	for all := tar.NewReader(r); ; {
		h, err := all.Next()
		if err == io.EOF {
			return programs, nil
		}
		if err != nil {
			return programs, err
		}
		if h.Typeflag != tar.TypeReg || h.Size < 4 {
			continue
		}
		data, err := io.ReadAll(all)
		if err != nil {
			return programs, err
		}
		switch {
		case string(data[:4]) == elf.ELFMAG:
			if err := t.checkMachine(strings.NewReader(string(data))); err != nil {
				return programs, fmt.Errorf("%s: %w", h.Name, err)
			}
			programs++
		case data[0] == '{':
			var config struct{ Architecture, OS string }
			if json.Unmarshal(data, &config) == nil && config.Architecture != "" && (config.Architecture != t.arch || config.OS != t.os) {
				return programs, fmt.Errorf("%s claims %s/%s; want %s", h.Name, config.OS, config.Architecture, t.name())
			}
		case string(data[:2]) == "\x1f\x8b":
			z, err := gzip.NewReader(strings.NewReader(string(data)))
			if err != nil {
				return programs, fmt.Errorf("%s: %w", h.Name, err)
			}
			n, err := t.checkImage(z)
			if programs += n; err != nil && !errors.Is(err, tar.ErrHeader) {
				return programs, fmt.Errorf("%s: %w", h.Name, err)
			}
		case len(data) > 262 && string(data[257:262]) == "ustar":
			n, err := t.checkImage(strings.NewReader(string(data)))
			if programs += n; err != nil {
				return programs, fmt.Errorf("%s: %w", h.Name, err)
			}
		}
	}
}
