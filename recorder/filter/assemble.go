package filter

import "golang.org/x/net/bpf"

// Operation codes of classic BPF, as in linux/filter.h.
const (
	bpfLD, bpfLDX, bpfST, bpfALU, bpfJMP, bpfRET, bpfMISC = 0, 1, 2, 4, 5, 6, 7

	bpfW, bpfH, bpfB                       = 0x00, 0x08, 0x10
	bpfImm, bpfAbs, bpfInd, bpfMem         = 0x00, 0x20, 0x40, 0x60
	bpfLen, bpfMSH                         = 0x80, 0xa0
	bpfAnd, bpfAdd, bpfMul                 = 0x50, 0x00, 0x20
	bpfJA, bpfJEQ, bpfJGT, bpfJGE, bpfJSET = 0x00, 0x10, 0x20, 0x30, 0x40
	bpfK, bpfX                             = 0x00, 0x08
	bpfTAX                                 = 0x00
)

const maxJump = 255 // of a conditional jump

// block is the code of one node: its loads, a conditional jump, and long jumps if a target
// is too far away for the conditional jump.
type block struct {
	code            []bpf.RawInstruction
	jump            uint16
	k               uint32
	yes, no         int
	longYes, longNo bool
}

func (b *block) size() int {
	n := len(b.code) + 1
	if b.longYes {
		n++
	}
	if b.longNo {
		n++
	}
	return n
}

// assemble translates the graph to a program that ends with the two returns.
func (g *graph) assemble(snapLen uint32) []bpf.RawInstruction {
	yes, no := bpf.RawInstruction{Op: bpfRET, K: snapLen}, bpf.RawInstruction{Op: bpfRET}
	switch g.root {
	case accept:
		return []bpf.RawInstruction{yes}
	case reject:
		return []bpf.RawInstruction{no}
	}
	var blocks []block
	place := map[int]int{}
	for i := g.root; i >= 0; i-- {
		if g.nodes[i].reached {
			place[i] = len(blocks)
			blocks = append(blocks, newBlock(&g.nodes[i]))
		}
	}
	place[accept], place[reject] = len(blocks), len(blocks)+1
	for i := range blocks {
		blocks[i].yes, blocks[i].no = place[blocks[i].yes], place[blocks[i].no]
	}
	starts := layOut(blocks)
	out := make([]bpf.RawInstruction, 0, starts[len(blocks)]+2)
	for i := range blocks {
		b := &blocks[i]
		out = append(out, b.code...)
		jump := len(out)
		j := bpf.RawInstruction{Op: b.jump, K: b.k}
		after := jump + 1
		var long []bpf.RawInstruction
		for _, way := range []struct {
			to   int
			long bool
			skip *uint8
		}{{b.yes, b.longYes, &j.Jt}, {b.no, b.longNo, &j.Jf}} {
			if way.long {
				*way.skip = uint8(len(long))
				at := after + len(long)
				long = append(long, bpf.RawInstruction{Op: bpfJMP | bpfJA, K: uint32(starts[way.to] - at - 1)})
			} else {
				*way.skip = uint8(starts[way.to] - after)
			}
		}
		out = append(append(out, j), long...)
	}
	return append(out, yes, no)
}

// layOut computes where each block starts and which jumps are long. A long jump moves the
// blocks after it, which can make other jumps long, so it repeats until nothing changes.
func layOut(blocks []block) []int {
	starts := make([]int, len(blocks)+2)
	for changed := true; changed; {
		changed = false
		for i := range blocks {
			starts[i+1] = starts[i] + blocks[i].size()
		}
		starts[len(blocks)+1] = starts[len(blocks)] + 1
		for i := range blocks {
			b := &blocks[i]
			after := starts[i] + len(b.code) + 1
			if !b.longYes && starts[b.yes]-after > maxJump {
				b.longYes, changed = true, true
			}
			if !b.longNo && starts[b.no]-after > maxJump {
				b.longNo, changed = true, true
			}
		}
	}
	return starts
}

func newBlock(n *node) block {
	b := block{yes: n.yes, no: n.no, k: n.test.k}
	var c code
	t := &n.test
	switch {
	case t.load.kind == loadExpr:
		c.expr(t.load.expr, 0)
	case !n.loaded:
		c.load(t.load)
	case n.in == t.load:
	default:
		c.mask(t.load.mask)
	}
	b.jump = bpfJMP | map[compare]uint16{equal: bpfJEQ, greater: bpfJGT, atLeast: bpfJGE, anyBit: bpfJSET}[t.op]
	if t.right != nil {
		c.emit(bpfST, 0)
		c.expr(t.right, 1)
		c.emit(bpfMISC|bpfTAX, 0)
		c.emit(bpfLD|bpfMem, 0)
		b.jump |= bpfX
	}
	b.code = c
	return b
}

// code is a sequence of instructions without jumps.
type code []bpf.RawInstruction

func (c *code) emit(op uint16, k uint32) { *c = append(*c, bpf.RawInstruction{Op: op, K: k}) }

func (c *code) mask(mask uint32) {
	if mask != ^uint32(0) {
		c.emit(bpfALU|bpfAnd|bpfK, mask)
	}
}

func width(size uint8) uint16 {
	switch size {
	case 1:
		return bpfB
	case 2:
		return bpfH
	}
	return bpfW
}

func (c *code) load(l load) {
	switch l.kind {
	case loadBytes:
		c.emit(bpfLD|bpfAbs|width(l.size), l.off)
	case loadPastIP4:
		c.emit(bpfLDX|bpfMSH|bpfB, l.ip)
		c.emit(bpfLD|bpfInd|width(l.size), l.off)
	case loadLength:
		c.emit(bpfLD|bpfLen|bpfW, 0)
	}
	c.mask(l.mask)
}

// expr loads a value into the accumulator. The scratch words from word on are free.
func (c *code) expr(e *expr, word uint32) {
	switch e.op {
	case "number":
		c.emit(bpfLD|bpfImm, e.k)
		return
	case "load":
		c.load(e.load)
		return
	}
	c.expr(e.left, word)
	switch {
	case e.op == "neg":
		// BPF's own negation is missing on some machines.
		c.emit(bpfALU|bpfMul|bpfK, ^uint32(0))
	case e.op == "at" && e.load.kind == loadPastIP4:
		c.emit(bpfLDX|bpfMSH|bpfB, e.load.ip)
		c.emit(bpfALU|bpfAdd|bpfX, 0)
		fallthrough
	case e.op == "at":
		c.emit(bpfMISC|bpfTAX, 0)
		c.emit(bpfLD|bpfInd|width(e.load.size), e.load.off)
		c.mask(e.load.mask)
	case e.right.op == "number":
		c.emit(bpfALU|operation(e.op)|bpfK, e.right.k)
	default:
		c.emit(bpfST, word)
		c.expr(e.right, word+1)
		c.emit(bpfMISC|bpfTAX, 0)
		c.emit(bpfLD|bpfMem, word)
		c.emit(bpfALU|operation(e.op)|bpfX, 0)
	}
}

func operation(op string) uint16 {
	return map[string]uint16{"+": 0x00, "-": 0x10, "*": 0x20, "/": 0x30, "|": 0x40, "&": 0x50,
		"<<": 0x60, ">>": 0x70, "%": 0x90, "^": 0xa0}[op]
}
