// Package filter compiles packet filters in the language of pcap-filter(7) to classic BPF.
//
// A Program can be loaded into the kernel (Instructions) or applied to one packet (Match).
// Both give the same result as tcpdump does when it reads a capture file. A primitive that the
// compiler does not know, or that needs the machine that captured the packet (host names,
// interfaces, firewall rules), is refused with an *Error that has its place and lists what is
// supported.
package filter

import (
	"fmt"

	"golang.org/x/net/bpf"
)

// Limits of an expression.
const (
	maxText  = 64 << 10 // bytes of expression
	maxDepth = 200      // nested parentheses and negations
	maxTests = 1 << 17  // comparisons, before equal ones are joined
	scratch  = 16       // words of BPF scratch memory
)

// wholePacket is the snap length of an accepting program if none is given.
const wholePacket = 262144

// Error says why an expression cannot be compiled.
type Error struct {
	Offset int // of the first offending byte in the expression
	Msg    string
}

// Error returns the place and the reason.
func (e *Error) Error() string {
	return fmt.Sprintf("compiling filter: at byte %d: %s", e.Offset, e.Msg)
}

// LinkTypeError means that a valid expression cannot be applied to a link type.
type LinkTypeError struct {
	LinkType uint16
	Offset   int // of the primitive
	Msg      string
}

// Error names the link type.
func (e *LinkTypeError) Error() string {
	return fmt.Sprintf("compiling filter for link type %d: at byte %d: %s", e.LinkType, e.Offset, e.Msg)
}

// Program is a compiled filter. It is immutable, so any number of goroutines may use it.
type Program struct {
	steps []step
	raw   []bpf.RawInstruction
}

// Compile translates an expression for packets of a link type (a LINKTYPE_ number of a
// capture file). snapLen is the number of bytes of a matching packet that the kernel should
// keep; 0 means all. An empty expression matches every packet. Compile returns
//   - a program,
//   - *Error for an expression that is invalid or not supported,
//   - *LinkTypeError for a valid expression that needs headers of an unknown link type.
func Compile(expr string, linkType uint16, snapLen int) (*Program, error) {
	if len(expr) > maxText {
		return nil, &Error{maxText, fmt.Sprintf("the expression has %d bytes; the maximum is %d", len(expr), maxText)}
	}
	tokens, err := lex(expr)
	if err != nil {
		return nil, err
	}
	c, err := parse(tokens, newLayout(linkType))
	if err != nil {
		return nil, err
	}
	if snapLen <= 0 {
		snapLen = wholePacket
	}
	g, ok := newGraph(c)
	if !ok {
		return nil, &Error{0, fmt.Sprintf("the expression needs more than %d comparisons", maxTests)}
	}
	g.join()
	return &Program{steps: g.steps(), raw: g.assemble(uint32(snapLen))}, nil
}

// Instructions returns the program as classic BPF. Jumps only go forward. The kernel accepts
// at most 4096 instructions; a long list of addresses can need more.
//
// LIMIT: vlan looks for the tag in the bytes of the packet. It finds none on sockets for
// which the kernel keeps tags outside the bytes.
func (p *Program) Instructions() []bpf.RawInstruction {
	return append([]bpf.RawInstruction(nil), p.raw...)
}
