// Package keys holds the programs that read secrets of TLS out of chosen processes, and
// loads them.
//
// They are uprobes and three raw tracepoints; nothing patches the kernel's text. The
// objects are committed, so nobody needs clang. Which processes and which functions is
// the caller's to say: nothing is attached and nobody chosen by loading.
package keys

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go@v0.22.0 -go-package keys -cc clang-14 -strip llvm-strip-14 -target amd64,arm64 -no-global-types -cflags "-O2 -g -Wall -Werror -mcpu=v3" -output-stem keys keys src/keys.c
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go@v0.22.0 -go-package keys -cc clang-14 -strip llvm-strip-14 -target amd64,arm64 -no-global-types -cflags "-O2 -g -Wall -Werror -mcpu=v3" -output-stem plain plain src/plain.c
