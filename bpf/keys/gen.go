// Package keys contains the programs that read the TLS secrets of chosen processes, and
// loads them.
//
// They are uprobes and three raw tracepoints; nothing patches the kernel's code. The objects
// are committed, so clang is not needed. The caller chooses the processes and the functions:
// loading attaches no probe and chooses no process.
package keys

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go@v0.22.0 -go-package keys -cc clang-14 -strip llvm-strip-14 -target amd64,arm64 -no-global-types -cflags "-O2 -g -Wall -Werror -mcpu=v3" -output-stem keys keys src/keys.c
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go@v0.22.0 -go-package keys -cc clang-14 -strip llvm-strip-14 -target amd64,arm64 -no-global-types -cflags "-O2 -g -Wall -Werror -mcpu=v3" -output-stem plain plain src/plain.c
