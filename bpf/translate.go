package bpf

import (
	"fmt"

	"github.com/cilium/ebpf/asm"
	classic "golang.org/x/net/bpf"
)

// Filters apply to the packet as in the file, with the Linux cooked header before it. The kernel's packet begins after
// that header, which the program builds on its stack.
const cookedLen = 20

// Registers that are preserved across calls, and places on the stack.
const (
	regSkb  = asm.R6
	regLink = asm.R7
	regA    = asm.R8
	regX    = asm.R9

	stackLoad = -8
	stackM    = -8 - 16*4 // M[0]
)

// maxOffset is beyond the last byte of any packet of a socket; larger offsets would overflow
// the arguments of helpers.
const maxOffset = 1 << 20

// Translate translates a classic filter for LINKTYPE_LINUX_SLL2 to the body of the programs'
// accept(skb, link). It returns an error for a filter that reads across the end of the cooked
// header, or at a computed place inside it.
func Translate(filter []classic.RawInstruction) (asm.Instructions, error) {
	return translateBoth(filter, nil)
}

// forbidden is the programs' return value of accept for packets of never-rules.
const forbidden = 2

// translateBoth makes a body that applies filter, and then never to the packets that match.
func translateBoth(filter, never []classic.RawInstruction) (asm.Instructions, error) {
	all := asm.Instructions{asm.Mov.Reg(regSkb, asm.R1), asm.Mov.Reg(regLink, asm.R2)}
	if filter != nil || never == nil {
		t := translation{name: "filter"}
		if err := t.all(filter); err != nil {
			return nil, err
		}
		all = append(all, t.out...)
		all = append(all, asm.Mov.Imm(asm.R0, 0).WithSymbol("filter_no"), asm.Return())
		if never == nil {
			return append(all, asm.Mov.Imm(asm.R0, 1).WithSymbol("filter_yes"), asm.Return()), nil
		}
	}
	t := translation{name: "never"}
	if err := t.all(never); err != nil {
		return nil, err
	}
	if filter != nil {
		t.out[0] = t.out[0].WithSymbol("filter_yes")
	}
	all = append(all, t.out...)
	return append(all,
		asm.Mov.Imm(asm.R0, forbidden).WithSymbol("never_yes"), asm.Return(),
		asm.Mov.Imm(asm.R0, 1).WithSymbol("never_no"), asm.Return()), nil
}

// all translates a filter, starting with fresh registers.
func (t *translation) all(filter []classic.RawInstruction) error {
	t.add(
		asm.Mov.Imm(regA, 0),
		asm.Mov.Imm(regX, 0),
	)
	for i := range int32(16) {
		t.add(asm.StoreImm(asm.RFP, int16(stackM+4*i), 0, asm.Word))
	}
	if len(filter) == 0 {
		return fmt.Errorf("translating filter: the filter has no instructions")
	}
	for i, raw := range filter {
		t.at, t.end = i, len(filter)
		begin := len(t.out)
		if err := t.one(raw); err != nil {
			return fmt.Errorf("translating instruction %d of the filter: %w", i, err)
		}
		t.out[begin] = t.out[begin].WithSymbol(t.label(i))
	}
	return nil
}

type translation struct {
	name    string // prefix of its labels; it ends at name_yes or name_no
	out     asm.Instructions
	at, end int
}

func (t *translation) label(i int) string { return fmt.Sprintf("%s_%d", t.name, i) }

func (t *translation) yes() string { return t.name + "_yes" }

func (t *translation) no() string { return t.name + "_no" }

func (t *translation) add(ins ...asm.Instruction) { t.out = append(t.out, ins...) }

func (t *translation) one(raw classic.RawInstruction) error {
	switch ins := raw.Disassemble().(type) {
	case classic.LoadConstant:
		t.add(asm.Mov.Imm32(register(ins.Dst), int32(ins.Val)))
	case classic.LoadScratch:
		return t.scratch(ins.N, func(off int16) asm.Instruction { return asm.LoadMem(register(ins.Dst), asm.RFP, off, asm.Word) })
	case classic.StoreScratch:
		return t.scratch(ins.N, func(off int16) asm.Instruction { return asm.StoreMem(asm.RFP, off, register(ins.Src), asm.Word) })
	case classic.LoadAbsolute:
		return t.load(regA, ins.Off, ins.Size)
	case classic.LoadIndirect:
		return t.indirect(ins.Off, ins.Size)
	case classic.LoadMemShift:
		if err := t.load(regX, ins.Off, 1); err != nil {
			return err
		}
		t.add(asm.And.Imm32(regX, 15), asm.LSh.Imm32(regX, 2))
	case classic.LoadExtension:
		if ins.Num != classic.ExtLen {
			return fmt.Errorf("kernel extension %d is not supported, only the length", ins.Num)
		}
		t.add(asm.LoadMem(regA, regSkb, 0, asm.Word), asm.Add.Imm32(regA, cookedLen))
	case classic.ALUOpConstant:
		return t.constant(ins)
	case classic.ALUOpX:
		return t.withX(ins)
	case classic.NegateA:
		t.add(asm.Neg.Imm32(regA, 0))
	case classic.Jump:
		return t.jump(uint64(ins.Skip))
	case classic.JumpIf:
		return t.branch(ins.Cond, ins.SkipTrue, ins.SkipFalse, func(op asm.JumpOp, to string) asm.Instruction {
			return op.Imm32(regA, int32(ins.Val), to)
		})
	case classic.JumpIfX:
		return t.branch(ins.Cond, ins.SkipTrue, ins.SkipFalse, func(op asm.JumpOp, to string) asm.Instruction {
			return op.Reg32(regA, regX, to)
		})
	case classic.RetConstant:
		to := t.yes()
		if ins.Val == 0 {
			to = t.no()
		}
		t.add(asm.Ja.Label(to))
	case classic.RetA:
		t.add(asm.JNE.Imm32(regA, 0, t.yes()), asm.Ja.Label(t.no()))
	case classic.TAX:
		t.add(asm.Mov.Reg32(regX, regA))
	case classic.TXA:
		t.add(asm.Mov.Reg32(regA, regX))
	default:
		return fmt.Errorf("unknown operation %#x", raw.Op)
	}
	return nil
}

func register(r classic.Register) asm.Register {
	if r == classic.RegX {
		return regX
	}
	return regA
}

func (t *translation) scratch(n int, make func(off int16) asm.Instruction) error {
	if n < 0 || n > 15 {
		return fmt.Errorf("scratch memory %d is outside 0 to 15", n)
	}
	t.add(make(int16(stackM + 4*n)))
	return nil
}

func width(size int) (asm.Size, error) {
	switch size {
	case 1:
		return asm.Byte, nil
	case 2:
		return asm.Half, nil
	case 4:
		return asm.Word, nil
	}
	return 0, fmt.Errorf("load of %d bytes", size)
}

// load reads size bytes at off of the packet in the file.
func (t *translation) load(dst asm.Register, off uint32, size int) error {
	w, err := width(size)
	switch {
	case err != nil:
		return err
	case off >= maxOffset:
		t.add(asm.Ja.Label(t.no()))
		return nil
	case off+uint32(size) <= cookedLen:
		t.add(asm.LoadMem(dst, regLink, int16(off), w))
		t.order(dst, w)
		return nil
	case off < cookedLen:
		return fmt.Errorf("load of %d bytes at %d, across the end of the link header", size, off)
	}
	t.add(asm.Mov.Imm(asm.R2, int32(off-cookedLen)))
	t.read(dst, w, size)
	return nil
}

// indirect reads size bytes at X + off.
func (t *translation) indirect(off uint32, size int) error {
	w, err := width(size)
	if err != nil {
		return err
	}
	if off < cookedLen || off >= maxOffset {
		return fmt.Errorf("load at a computed place from %d, which is inside the link header", off)
	}
	t.add(
		asm.JGT.Imm32(regX, maxOffset, t.no()),
		asm.Mov.Reg32(asm.R2, regX),
		asm.Add.Imm32(asm.R2, int32(off-cookedLen)),
	)
	t.read(regA, w, size)
	return nil
}

// read loads the packet's bytes at R2; a packet that is too short does not match, as in
// classic filters.
func (t *translation) read(dst asm.Register, w asm.Size, size int) {
	t.add(
		asm.Mov.Reg(asm.R1, regSkb),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, stackLoad),
		asm.Mov.Imm(asm.R4, int32(size)),
		asm.FnSkbLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, t.no()),
		asm.LoadMem(dst, asm.RFP, stackLoad, w),
	)
	t.order(dst, w)
}

func (t *translation) order(dst asm.Register, w asm.Size) {
	if w != asm.Byte {
		t.add(asm.HostTo(asm.BE, dst, w))
	}
}

func (t *translation) constant(ins classic.ALUOpConstant) error {
	if (ins.Op == classic.ALUOpShiftLeft || ins.Op == classic.ALUOpShiftRight) && ins.Val > 31 {
		t.add(asm.Mov.Imm32(regA, 0))
		return nil
	}
	if (ins.Op == classic.ALUOpDiv || ins.Op == classic.ALUOpMod) && ins.Val == 0 {
		t.add(asm.Ja.Label(t.no()))
		return nil
	}
	op, err := operation(ins.Op)
	if err == nil {
		t.add(op.Imm32(regA, int32(ins.Val)))
	}
	return err
}

func (t *translation) withX(ins classic.ALUOpX) error {
	op, err := operation(ins.Op)
	if err != nil {
		return err
	}
	switch ins.Op {
	case classic.ALUOpDiv, classic.ALUOpMod:
		t.add(asm.JEq.Imm32(regX, 0, t.no()))
	case classic.ALUOpShiftLeft, classic.ALUOpShiftRight:
		// In classic filters a shift by more than 31 yields 0; eBPF would use 5 bits of the count.
		over, done := fmt.Sprintf("%s_over_%d", t.name, t.at), fmt.Sprintf("%s_shifted_%d", t.name, t.at)
		t.add(
			asm.JGT.Imm32(regX, 31, over),
			op.Reg32(regA, regX),
			asm.Ja.Label(done),
			asm.Mov.Imm32(regA, 0).WithSymbol(over),
			asm.Mov.Reg32(regX, regX).WithSymbol(done), // jump target
		)
		return nil
	}
	t.add(op.Reg32(regA, regX))
	return nil
}

func operation(op classic.ALUOp) (asm.ALUOp, error) {
	switch op {
	case classic.ALUOpAdd:
		return asm.Add, nil
	case classic.ALUOpSub:
		return asm.Sub, nil
	case classic.ALUOpMul:
		return asm.Mul, nil
	case classic.ALUOpDiv:
		return asm.Div, nil
	case classic.ALUOpOr:
		return asm.Or, nil
	case classic.ALUOpAnd:
		return asm.And, nil
	case classic.ALUOpShiftLeft:
		return asm.LSh, nil
	case classic.ALUOpShiftRight:
		return asm.RSh, nil
	case classic.ALUOpMod:
		return asm.Mod, nil
	case classic.ALUOpXor:
		return asm.Xor, nil
	}
	return 0, fmt.Errorf("unknown arithmetic operation %#x", uint16(op))
}

// target is the label of a jump over skip instructions.
func (t *translation) target(skip uint64) (string, error) {
	to := uint64(t.at) + 1 + skip
	if to >= uint64(t.end) {
		return "", fmt.Errorf("jump to instruction %d of %d", to, t.end)
	}
	return t.label(int(to)), nil
}

func (t *translation) jump(skip uint64) error {
	to, err := t.target(skip)
	if err == nil {
		t.add(asm.Ja.Label(to))
	}
	return err
}

func (t *translation) branch(cond classic.JumpTest, yes, no uint8, make func(asm.JumpOp, string) asm.Instruction) error {
	var op asm.JumpOp
	switch cond {
	case classic.JumpEqual:
		op = asm.JEq
	case classic.JumpNotEqual:
		op = asm.JNE
	case classic.JumpGreaterThan:
		op = asm.JGT
	case classic.JumpLessThan:
		op = asm.JLT
	case classic.JumpGreaterOrEqual:
		op = asm.JGE
	case classic.JumpLessOrEqual:
		op = asm.JLE
	case classic.JumpBitsSet:
		op = asm.JSet
	case classic.JumpBitsNotSet: // there is no instruction for it
		op, yes, no = asm.JSet, no, yes
	default:
		return fmt.Errorf("unknown jump condition %#x", uint16(cond))
	}
	to, err := t.target(uint64(yes))
	if err != nil {
		return err
	}
	t.add(make(op, to))
	return t.jump(uint64(no))
}
