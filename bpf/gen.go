// Package bpf contains the programs that run in the kernel, and loads them.
//
// The object is committed, so clang is not needed to build pcapsule. The package does not
// decide what is recorded. It guarantees that what it attaches lets every packet pass, and
// that its Go layout matches the C one.
package bpf

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go@v0.22.0 -go-package bpf -cc clang-14 -strip llvm-strip-14 -target bpfel -no-global-types -cflags "-O2 -g -Wall -Werror -mcpu=v3" -output-stem recorder recorder src/recorder.c
