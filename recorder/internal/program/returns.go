package program

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// errReturns means that the return instructions of a function are unknown.
var errReturns = errors.New("a function with unknown instructions")

const (
	maxFunction = 256 << 10
	maxReturns  = 64
)

// Returns lists the file offsets of a function's return instructions. An unknown instruction
// is an error, because the bytes after it may be misread.
func (m *File) Returns(f Span) ([]uint64, error) {
	if f.Size == 0 || f.Size > maxFunction {
		return nil, fmt.Errorf("%w: %d bytes", errReturns, f.Size)
	}
	code, err := m.read(f.Off, f.Size)
	if err != nil {
		return nil, err
	}
	var list []uint64
	for at := 0; at < len(code); {
		n, ret := 4, false
		if m.machine == machineARM64 {
			// RET X30; the end of the function may be padded.
			ret = len(code)-at >= 4 && binary.LittleEndian.Uint32(code[at:]) == 0xd65f03c0
		} else if n, ret = instruction(code[at:]); n == 0 {
			return nil, fmt.Errorf("%w: % x at %d", errReturns, code[at:min(at+8, len(code))], at)
		}
		if ret {
			list = append(list, f.Off+uint64(at))
		}
		at += n
	}
	if len(list) == 0 || len(list) > maxReturns {
		return nil, fmt.Errorf("%w: it has %d return instructions", errReturns, len(list))
	}
	return list, nil
}

// What follows the opcode of an x86 instruction in 64-bit mode.
const (
	bad    = iota
	plain  // nothing
	byte1  // a byte
	word   // 4 bytes, or 2 with an operand size prefix
	modrm  // a ModRM byte and its operands
	modrm1 // modrm and a byte
	modrm4 // modrm and 4 bytes, or 2
	group3 // modrm; TEST as modrm1 or modrm4
	near   // 4 bytes, an address
	two    // 2 bytes
	three  // 3 bytes
	moffs  // 8 bytes, or 4 with an address size prefix
	wide   // word, or 8 bytes with REX.W
)

// opcodes are ranges of one-byte opcodes with the same form. 0F, prefixes, REX, VEX and
// EVEX are handled before. Intel SDM volume 2, appendix A.
var opcodes = form{
	{0x50, 0x5f, plain}, {0x63, 0x63, modrm}, {0x68, 0x68, word}, {0x69, 0x69, modrm4}, {0x6a, 0x6a, byte1}, {0x6b, 0x6b, modrm1},
	{0x6c, 0x6f, plain}, {0x70, 0x7f, byte1}, {0x80, 0x80, modrm1}, {0x81, 0x81, modrm4}, {0x83, 0x83, modrm1}, {0x84, 0x8f, modrm},
	{0x90, 0x99, plain}, {0x9b, 0x9f, plain}, {0xa0, 0xa3, moffs}, {0xa4, 0xa7, plain}, {0xa8, 0xa8, byte1}, {0xa9, 0xa9, word},
	{0xaa, 0xaf, plain}, {0xb0, 0xb7, byte1}, {0xb8, 0xbf, wide}, {0xc0, 0xc1, modrm1}, {0xc2, 0xc2, two}, {0xc3, 0xc3, plain},
	{0xc6, 0xc6, modrm1}, {0xc7, 0xc7, modrm4}, {0xc8, 0xc8, three}, {0xc9, 0xc9, plain}, {0xca, 0xca, two}, {0xcb, 0xcc, plain},
	{0xcd, 0xcd, byte1}, {0xcf, 0xcf, plain}, {0xd0, 0xd3, modrm}, {0xd7, 0xd7, plain}, {0xd8, 0xdf, modrm}, {0xe0, 0xe7, byte1},
	{0xe8, 0xe9, near}, {0xeb, 0xeb, byte1}, {0xec, 0xef, plain}, {0xf1, 0xf1, plain}, {0xf4, 0xf5, plain}, {0xf6, 0xf7, group3},
	{0xf8, 0xfd, plain}, {0xfe, 0xff, modrm},
}

// escaped are the opcodes after 0F.
var escaped = form{
	{0x00, 0x03, modrm}, {0x05, 0x09, plain}, {0x0b, 0x0b, plain}, {0x0d, 0x0d, modrm}, {0x10, 0x23, modrm}, {0x28, 0x2f, modrm},
	{0x30, 0x35, plain}, {0x37, 0x37, plain}, {0x40, 0x6f, modrm}, {0x70, 0x73, modrm1}, {0x74, 0x76, modrm}, {0x77, 0x77, plain},
	{0x78, 0x79, modrm}, {0x7c, 0x7f, modrm}, {0x80, 0x8f, near}, {0x90, 0x9f, modrm}, {0xa0, 0xa2, plain}, {0xa3, 0xa3, modrm},
	{0xa4, 0xa4, modrm1}, {0xa5, 0xa5, modrm}, {0xa8, 0xaa, plain}, {0xab, 0xab, modrm}, {0xac, 0xac, modrm1}, {0xad, 0xb9, modrm},
	{0xba, 0xba, modrm1}, {0xbb, 0xc1, modrm}, {0xc2, 0xc2, modrm1}, {0xc3, 0xc3, modrm}, {0xc4, 0xc6, modrm1}, {0xc7, 0xc7, modrm},
	{0xc8, 0xcf, plain}, {0xd0, 0xff, modrm},
}

type form [][3]byte

func (f form) of(op byte) byte {
	for _, r := range f {
		if op >= r[0] && op <= r[1] {
			return r[2]
		}
	}
	return bad
}

const maxInstruction = 15

// instruction returns the length of the instruction at the beginning of b, or 0 if it is
// unknown or incomplete, and whether it returns to the caller.
func instruction(b []byte) (n int, ret bool) {
	b = b[:min(len(b), maxInstruction)]
	at, short, small, wideREX := 0, false, false, false
	for ; at < len(b); at++ {
		switch b[at] {
		case 0x66:
			short = true
		case 0x67:
			small = true
		case 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0xf0, 0xf2, 0xf3:
		default:
			goto opcode
		}
	}
opcode:
	if at < len(b) && b[at]&0xf0 == 0x40 {
		wideREX = b[at]&8 != 0
		at++
	}
	if at >= len(b) {
		return 0, false
	}
	op, kind := b[at], byte(bad)
	at++
	switch {
	case op == 0x0f && at < len(b):
		kind = escaped.of(b[at])
		at++
		if second := b[at-1]; second == 0x38 || second == 0x3a {
			kind = modrm + (second-0x38)/2
			at++
		}
	case op == 0xc5 && at+1 < len(b):
		kind = vector(1, b[at+1])
		at += 2
	case op == 0xc4 && at+2 < len(b):
		kind = vector(b[at]&31, b[at+2])
		at += 3
	case op == 0x62 && at+3 < len(b):
		kind = vector(b[at]&7, b[at+3])
		at += 4
	case op < 0x40:
		kind = [...]byte{modrm, modrm, modrm, modrm, byte1, word, bad, bad}[op&7]
	default:
		kind = opcodes.of(op)
	}
	n = at + operands(b[min(at, len(b)):], op, kind, short, small, wideREX)
	if kind == bad || n > len(b) {
		return 0, false
	}
	return n, op == 0xc2 || op == 0xc3
}

// vector is the form of a VEX or EVEX instruction, by its opcode table.
func vector(table, op byte) byte {
	switch table {
	case 1:
		if k := escaped.of(op); k == modrm || k == modrm1 || op == 0x77 {
			return k
		}
		return modrm // mask instructions; without VEX these opcodes are jumps
	case 2, 5, 6:
		return modrm
	case 3:
		return modrm1
	}
	return bad
}

// operands is the number of bytes that follow an opcode. It may exceed the length of b.
func operands(b []byte, op, kind byte, short, small, wideREX bool) int {
	immediate := 4
	if short && !wideREX {
		immediate = 2
	}
	switch kind {
	case byte1:
		return 1
	case two:
		return 2
	case three:
		return 3
	case near:
		return 4
	case word:
		return immediate
	case wide:
		if wideREX {
			return 8
		}
		return immediate
	case moffs:
		if small {
			return 4
		}
		return 8
	case modrm, modrm1, modrm4, group3:
		if len(b) == 0 {
			return maxInstruction
		}
		n := addressed(b)
		test := kind == group3 && b[0]>>3&7 < 2
		switch {
		case kind == modrm1, test && op == 0xf6:
			n++
		case kind == modrm4, test:
			n += immediate
		}
		return n
	}
	return 0
}

// addressed is the length of a ModRM byte and its operands.
func addressed(b []byte) int {
	mode, place := b[0]>>6, b[0]&7
	if mode == 3 {
		return 1
	}
	n := 1
	if place == 4 { // SIB
		n++
		if len(b) > 1 && mode == 0 && b[1]&7 == 5 {
			return n + 4
		}
	}
	switch {
	case mode == 1:
		return n + 1
	case mode == 2, mode == 0 && place == 5:
		return n + 4
	}
	return n
}
