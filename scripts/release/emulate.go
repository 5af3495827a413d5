package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// binfmt is where the kernel lists the interpreters of program formats.
const binfmt = "/proc/sys/fs/binfmt_misc"

// emulate makes the kernel start programs for arm64 with QEMU (binfmt_misc), because pcapsule starts
// itself for questions. end restores the machine. Nothing changes if the kernel can start such programs
// already.
func emulate() (end func() error, err error) {
	end = func() error { return nil }
	if _, err := os.Stat(filepath.Join(binfmt, "register")); errors.Is(err, fs.ErrNotExist) {
		if err := syscall.Mount("binfmt_misc", binfmt, "binfmt_misc", 0, ""); err != nil {
			return nil, fmt.Errorf("starting programs for arm64: mounting %s: %w; run this as root on a kernel with binfmt_misc", binfmt, err)
		}
		end = func() error { return syscall.Unmount(binfmt, 0) }
	}
	known, err := filepath.Glob(filepath.Join(binfmt, "*aarch64*"))
	if err != nil || len(known) > 0 {
		return end, err
	}
	dir, err := bookworm.dir()
	if err != nil {
		return nil, errors.Join(err, end())
	}
	const name = "pcapsule-release-aarch64"
	// An ELF program (ET_EXEC or ET_DYN) for EM_AARCH64. F opens the interpreter now, so that it works
	// in every tree.
	rule := ":" + name + `:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00` +
		`:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff` +
		":" + filepath.Join(dir, "usr/bin/qemu-aarch64-static") + ":F"
	if err := os.WriteFile(filepath.Join(binfmt, "register"), []byte(rule), 0o200); err != nil {
		return nil, errors.Join(fmt.Errorf("starting programs for arm64: %w", err), end())
	}
	unmount := end
	return func() error {
		return errors.Join(os.WriteFile(filepath.Join(binfmt, name), []byte("-1"), 0o200), unmount())
	}, nil
}
