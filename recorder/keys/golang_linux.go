//go:build amd64 || arm64

package keys

import (
	"errors"
	"fmt"

	bpf "github.com/pcapsule/pcapsule/bpf/keys"
	"github.com/pcapsule/pcapsule/recorder/internal/program"
)

// Functions of Go's crypto/tls, the last ones without the package, so that forks are found too.
const (
	goFunction = "crypto/tls.(*Config).writeKeyLog"
	goSuffix   = "tls.(*Config).writeKeyLog"
	goRead     = "tls.(*Conn).Read"
	goWrite    = "tls.(*Conn).Write"
)

var errNoTLS = errors.New("a Go program without crypto/tls")

// goTargets finds a program's key log functions, also by symbols if they were not stripped. If the
// two results differ, it returns an error and nothing is attached.
func goTargets(m *program.File) ([]uint64, error) {
	all, err := goFunctions(m, goSuffix)
	if err != nil {
		return nil, err
	}
	var offsets []uint64
	for _, f := range all[0] {
		offsets = append(offsets, f.Off)
	}
	f, err := m.Functions(goFunction)
	if err != nil {
		return offsets, nil // unreadable symbols are treated as stripped
	}
	va, ok := f[goFunction]
	if !ok {
		return offsets, nil
	}
	want, ok := m.Offset(va)
	for _, off := range offsets {
		if ok && off == want {
			return offsets, nil
		}
	}
	return nil, fmt.Errorf("%s is at offset %#x according to its symbol, but at %#x according to the function table", goFunction, want, offsets)
}

// goPlain finds the methods of crypto/tls.Conn and the places where they return.
func goPlain(m *program.File) ([]bpf.Function, error) {
	all, err := goFunctions(m, goRead, goWrite)
	if err != nil {
		return nil, err
	}
	var list []bpf.Function
	for i, spans := range all {
		for _, s := range spans {
			ends, err := m.Returns(s)
			if err != nil {
				return nil, err
			}
			list = append(list, bpf.Function{At: s.Off, Ends: ends, Write: i == 1})
		}
	}
	return list, nil
}

func goFunctions(m *program.File, suffixes ...string) ([][]program.Span, error) {
	all, err := m.GoFunctions(suffixes...)
	if errors.Is(err, program.ErrNoFunction) {
		err = errNoTLS
	}
	return all, err
}
