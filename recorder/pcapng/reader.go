package pcapng

import (
	"errors"
	"fmt"
	"io"
)

// Options of a Reader. The zero value is good.
type Options struct {
	Window    int         // target bytes read at once; 0 means 1 MiB
	MaxBlock  int         // longest block or record, 0 means 64 MiB; a longer one is damage
	MaxDamage int         // places listed by Reader.Damage, 0 means 1000; all are counted
	Live      bool        // return what is there rather than wait for a full window
	OnBlock   func(Block) // sees each PCAPNG block that is no packet, in file order
}

// Batch is a window of packets. The zero value is ready for Next; passing the same
// Batch again reuses its memory, and several can be alive at once.
type Batch struct {
	Packets    []Packet
	Interfaces []Interface // all interfaces known at the end of the batch

	buf []byte
}

// Reader walks a capture from any stream. It is for one goroutine; the batches it
// filled are not its own and may be used in others.
type Reader struct {
	src    io.Reader
	opt    Options
	format Format

	maxBlock int // shrinks with each long block whose length was a lie

	eof      bool
	readErr  error
	cutShort bool // the stream ended with ErrUnexpectedEOF
	tail     bool // the capture ended inside a block or record
	done     bool
	base     int64  // file offset of the first byte of the window
	carry    []byte // cut block between two batches

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
	ref int64 // second of the last record that looked sound, for scans

	scanning bool
	scanFrom int64
	lost     Damage
	onFound  DamageKind
	unseen   bool
	damage   []Damage
	total    DamageTotal

	pass    func(typ BlockType, off, size int64, blk []byte) // sees what Strip must know of
	passAll bool                                             // and every block that is no packet
}

// NewReader tells the format from the first bytes of src. It answers
//   - a *NotCaptureError (errors.Is ErrNotCapture) if it is not a capture,
//   - ErrTooShort where the file ends inside its header,
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
	return r, nil
}

// Format is the format of the capture.
func (r *Reader) Format() Format { return r.format }

// Packets is the number of packets given so far.
func (r *Reader) Packets() int64 { return r.index }

// Sections is the number of sections begun so far; a pcap file is one.
func (r *Reader) Sections() int { return int(r.section) + 1 }

var errNoProgress = errors.New("the stream gives neither bytes nor an end")

const maxIdle = 100 // reads of no bytes in a row

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
		// A compressed stream that is cut says so: the capture in it is truncated,
		// and that is all there is to say.
		r.cutShort = true
	default:
		r.readErr = err
	}
}

// Next fills b with the packets of the next window. Data and Options in b are valid
// until b is passed to Next again. It returns io.EOF at the end, and where the stream
// itself could not be read, that error after all whole packets before it.
func (r *Reader) Next(b *Batch) error {
	b.Packets = b.Packets[:0]
	b.Interfaces = nil
	if r.done {
		return r.end()
	}
	n := r.take(b)
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

// take makes the buffer of b a window that begins with what the last one left over.
func (r *Reader) take(b *Batch) int {
	size := r.opt.Window
	if len(r.carry) > size/2 {
		size += len(r.carry) // else a hostile file could have us move much and read little
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

// fill reads until the buffer is full and holds need bytes, or the stream ends. The
// buffer grows by what has come, never by what a length field promises.
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

// walk reads packets from the window and returns how far it came, and how many bytes
// from there it wants to see before it can go on.
func (r *Reader) walk(b *Batch, w []byte) (pos, need int) {
	for {
		if r.scanning {
			var ok bool
			if pos, need, ok = r.scan(w, pos); !ok {
				return pos, need
			}
		}
		if r.format == FormatPcap {
			pos, need = r.walkRecords(b, w, pos)
		} else {
			pos, need = r.walkBlocks(b, w, pos)
		}
		if !r.scanning {
			return pos, need
		}
	}
}

// scan looks for a place to go on after damage.
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
			p -= 4 // with the p++ of the loop, three of the zeros are looked at again
			continue
		}
		if r.format == FormatPcap && r.recordsAt(w[p:]) || r.format == FormatPcapng && r.blocksAt(w[p:]) {
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

// finish closes the accounts at the end of the stream.
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
