// Package filter compiles packet filters in the language of pcap-filter(7) to classic BPF.
//
// A Program can be loaded into the kernel (Instructions) or asked about one packet
// (Match); both give the same answer, and the answer is the one tcpdump gives when it
// reads a capture file. Primitives that need the machine the packet was seen on (names
// of hosts, interfaces, firewall rules) or that the compiler does not know are refused
// with an *Error that says where they stand and what there is instead.
package filter

import (
	"fmt"

	"golang.org/x/net/bpf"
)

// Limits of an expression.
const (
	maxText  = 64 << 10 // bytes of expression
	maxDepth = 200      // parentheses and negations in each other
	maxTests = 1 << 17  // comparisons, before equal ones are joined
	scratch  = 16       // words of BPF scratch memory
)

// wholePacket is the number of bytes an accepting program asks for when no snap length is given.
const wholePacket = 262144

// Error is an expression that cannot be compiled.
type Error struct {
	Offset int // of the first byte in the expression that is to blame
	Msg    string
}

// Error gives the place and the reason.
func (e *Error) Error() string {
	return fmt.Sprintf("compiling filter: at byte %d: %s", e.Offset, e.Msg)
}

// LinkTypeError is a link type that cannot be asked what a right expression asks.
type LinkTypeError struct {
	LinkType uint16
	Offset   int // of the primitive that asks
	Msg      string
}

// Error names the link type.
func (e *LinkTypeError) Error() string {
	return fmt.Sprintf("compiling filter for link type %d: at byte %d: %s", e.LinkType, e.Offset, e.Msg)
}

// Program is a compiled filter. It does not change, so any number of goroutines may use it.
type Program struct {
	steps []step
	raw   []bpf.RawInstruction
}

// Compile translates an expression for packets of a link type (a LINKTYPE_ number of a
// capture file). snapLen is the number of bytes an accepting program asks the kernel to
// keep; 0 means all. An empty expression matches every packet. Compile answers
//   - a program,
//   - *Error for an expression that is wrong, or uses what is not supported,
//   - *LinkTypeError for a right expression that asks for headers of an unknown link type.
func Compile(expr string, linkType uint16, snapLen int) (*Program, error) {
	if len(expr) > maxText {
		return nil, &Error{maxText, fmt.Sprintf("expression of %d bytes, want at most %d", len(expr), maxText)}
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

// Instructions gives the program as classic BPF. Jumps go forward only. The kernel takes
// at most 4096 instructions; a long list of addresses can need more.
//
// LIMIT: vlan looks for the tag in the packet's bytes. On sockets where the kernel keeps
// tags beside the bytes, it finds none.
func (p *Program) Instructions() []bpf.RawInstruction {
	return append([]bpf.RawInstruction(nil), p.raw...)
}
