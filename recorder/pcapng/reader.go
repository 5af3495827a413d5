package pcapng

import (
	"errors"
	"fmt"
	"io"
)

// Options of a Reader. The zero value is ready to use.
type Options struct {
	Window    int         // target bytes read at once; 0 means 1 MiB
	MaxBlock  int         // longest block or record; 0 means 64 MiB; a longer one is damage
	MaxDamage int         // places listed by Reader.Damage; 0 means 1000; all are counted
	Live      bool        // return available packets instead of waiting for a full window
	OnBlock   func(Block) // receives each PCAPNG block that is not a packet, in file order
}

// Batch is a window of packets. The zero value is ready for Next. Passing the same Batch
// again reuses its memory; several batches can be in use at once.
type Batch struct {
	Packets    []Packet
	Interfaces []Interface // all interfaces known at the end of the batch

	buf []byte
}

// Reader walks a capture from any stream. Only one goroutine may use it; the batches it
// has filled may be used in other goroutines.
type Reader struct {
	src    io.Reader
	opt    Options
	first  Format // of the file
	format Format // at the place that is read

	maxBlock int // shrinks with each false length of a long block

	eof      bool
	readErr  error
	cutShort bool // the stream ended with ErrUnexpectedEOF
	tail     bool // the capture ended inside a block or record
	done     bool
	base     int64  // file offset of the first byte of the window
	carry    []byte // incomplete block between two batches

	index int64
	frame int64

	ifaces []Interface
	fast   []ifaceFast
	ifBase int // first interface of this section
	kept   int64

	be         bool
	section    int32
	sectionOff int64
	skip       bool // section of an unknown version
	gaps       int  // scans that skipped bytes
	gapsAtSHB  int  // gaps when this section began

	rec recordFormat
	ref int64 // second of the last valid record, for scans

	scanning bool
	scanFrom int64
	lost     Damage
	onFound  DamageKind
	unseen   bool
	damage   []Damage
	total    DamageTotal

	pass    func(typ BlockType, off, size int64, blk []byte) // receives what Strip needs
	passAll bool                                             // and every block that is not a packet

	passHeader func(from, to int64) // receives the headers of classic captures after the first one
}

// NewReader detects the format from the first bytes of src. It returns
//   - a *NotCaptureError (errors.Is ErrNotCapture) if it is not a capture,
//   - ErrTooShort if the file ends inside its header,
//   - the error of src.
func NewReader(src io.Reader, opt Options) (*Reader, error) {
	if opt.Window <= 0 {
		opt.Window = defaultWindow
	}
	opt.Window = max(opt.Window, 64)
	if opt.MaxBlock <= 0 || opt.MaxBlock > maxBlock {
		opt.MaxBlock = maxBlock
	}
	if opt.MaxDamage <= 0 {
		opt.MaxDamage = 1000
	}
	r := &Reader{src: src, opt: opt, section: -1, maxBlock: opt.MaxBlock}
	if err := r.sniff(); err != nil {
		return nil, err
	}
	r.first = r.format
	return r, nil
}

// Format is the format of the capture, of the first one if the file has several.
func (r *Reader) Format() Format { return r.first }

// Packets is the number of packets returned so far.
func (r *Reader) Packets() int64 { return r.index }

// Sections is the number of sections begun so far; each classic capture is one.
func (r *Reader) Sections() int { return int(r.section) + 1 }

var errNoProgress = errors.New("the stream returns neither bytes nor an end")

const maxIdle = 100 // consecutive reads of no bytes

func countIdle(idle, n int) int {
	if n > 0 {
		return 0
	}
	return idle + 1
}

func (r *Reader) endOfStream(err error) {
	r.eof = true
	switch {
	case err == io.EOF:
	case errors.Is(err, io.ErrUnexpectedEOF):
		// A truncated compressed stream reports this error: the capture in it is truncated,
		// and nothing more needs to be reported.
		r.cutShort = true
	default:
		r.readErr = err
	}
}

// Next fills b with the packets of the next window. Data and Options in b are valid
// until b is passed to Next again. It returns io.EOF at the end. If the stream itself
// cannot be read, it returns that error after all complete packets before it.
func (r *Reader) Next(b *Batch) error {
	b.Packets = b.Packets[:0]
	b.Interfaces = nil
	if r.done {
		return r.end()
	}
	n := r.window(b)
	for need := n + 1; ; {
		n = r.fill(b, n, need)
		var pos int
		pos, need = r.walk(b, b.buf[:n])
		r.base += int64(pos)
		if r.eof {
			r.finish()
			break
		}
		if len(b.Packets) > 0 {
			r.carry = append(r.carry[:0], b.buf[pos:n]...)
			break
		}
		n = copy(b.buf, b.buf[pos:n])
	}
	b.Interfaces = r.Interfaces()
	if len(b.Packets) == 0 {
		return r.end()
	}
	return nil
}

// window makes the buffer of b a window that begins with the rest of the last one.
func (r *Reader) window(b *Batch) int {
	size := r.opt.Window
	if len(r.carry) > size/2 {
		size += len(r.carry) // or a hostile file could cause many copies for few reads
	}
	if c := cap(b.buf); c < size || c > 4*size {
		b.buf = make([]byte, size)
	}
	b.buf = b.buf[:size]
	n := copy(b.buf, r.carry)
	if cap(r.carry) > 4*r.opt.Window {
		r.carry = nil
	}
	r.carry = r.carry[:0]
	return n
}

// fill reads until the buffer is full and has need bytes, or the stream ends. The buffer
// grows with the bytes read, never with the value of a length field.
func (r *Reader) fill(b *Batch, n, need int) int {
	for idle := 0; !r.eof; {
		if n == len(b.buf) {
			if n >= need {
				return n
			}
			bigger := make([]byte, min(max(2*n, 4096), need+r.opt.Window))
			copy(bigger, b.buf)
			b.buf = bigger
		}
		k, err := r.src.Read(b.buf[n:])
		n += k
		if idle = countIdle(idle, k); idle > maxIdle {
			err = errNoProgress
		}
		if err != nil {
			r.endOfStream(err)
		}
		if r.opt.Live && n >= need {
			return n
		}
	}
	return n
}

// walk reads packets from the window and returns the place it reached, and how many bytes
// from there it needs to continue.
func (r *Reader) walk(b *Batch, w []byte) (pos, need int) {
	for {
		if r.scanning {
			var ok bool
			if pos, need, ok = r.scan(w, pos); !ok {
				return pos, need
			}
		}
		format := r.format
		if format == FormatPcap {
			pos, need = r.walkRecords(b, w, pos)
		} else {
			pos, need = r.walkBlocks(b, w, pos)
		}
		if !r.scanning && format == r.format {
			return pos, need
		}
	}
}

// scan looks for a place to continue after damage.
func (r *Reader) scan(w []byte, pos int) (at, need int, ok bool) {
	p := max(pos, int(r.scanFrom-r.base))
	for ; p < len(w); p++ {
		if !r.eof && len(w)-p < lookahead {
			r.scanFrom = r.base + int64(p)
			return p, lookahead, false
		}
		// Nothing begins with four zero bytes, and long runs of them are common.
		zeros := p
		for len(w)-p >= 8 && u64(w[p:], false) == 0 {
			p += 8
		}
		if p > zeros {
			p -= 4 // with the p++ of the loop, three of the zeros are examined again
			continue
		}
		if r.format == FormatPcap && r.recordsAt(w[p:]) || r.format == FormatPcapng && r.blocksAt(w[p:]) || r.followsDamage(w[p:]) {
			r.found(r.base+int64(p), false)
			return p, 0, true
		}
	}
	r.scanFrom = r.base + int64(p)
	if r.eof {
		r.found(r.base+int64(len(w)), true)
		return len(w), 0, false
	}
	return len(w), lookahead, false
}

// finish records the errors at the end of the stream.
func (r *Reader) finish() {
	r.done = true
	switch {
	case r.readErr != nil:
		r.note(r.base, 0, DamageUnreadable, "%s", r.readErr.Error())
	case r.cutShort && !r.tail:
		r.note(r.base, 0, DamageTruncated, "the compressed stream ends early")
	}
}

func (r *Reader) end() error {
	if r.readErr != nil {
		return fmt.Errorf("reading capture at %d: %w", r.base, r.readErr)
	}
	return io.EOF
}
