// Package bpf holds the programs that run in the kernel, and loads them.
//
// The object is committed, so nobody needs clang to build pcapsule. Nothing here decides
// what is recorded: the package promises that what it attaches lets every packet pass, and
// that its Go layout is the C one.
package bpf

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go@v0.22.0 -go-package bpf -cc clang-14 -strip llvm-strip-14 -target bpfel -no-global-types -cflags "-O2 -g -Wall -Werror -mcpu=v3" -output-stem recorder recorder src/recorder.c
