package join

import (
	"unicode/utf8"
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/internal/memory"
	"github.com/pcapsule/pcapsule/exporter/internal/write"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Sizes of table bodies.
const (
	bodyPart    = 1 << 20 // bytes of one part
	bodyFlush   = 4 << 20 // bytes that wait to be written
	bodyOverlap = 4 << 10 // bytes that two parts share, so that a search finds text across their border
	bodyWindow  = 1 << 16 // distinct bodies within which an equal one is not stored again
)

// bodies are the bodies of calls on their way into their tables.
type bodies struct {
	rows    []table.Body
	size    int // bytes of rows
	objects []table.Object
	used    []*dissect.Body // whose bytes rows may point at

	kept map[table.Hash]struct{} // stored a short while ago
	ring []table.Hash            // of kept, oldest at at once it is full
	at   int

	limit memory.Limit
}

// write writes what waits.
func (x *bodies) write(out *write.Tables) error {
	if err := write.Append(out, "bodies", x.rows); err != nil {
		return err
	}
	clear(x.rows)
	x.rows, x.size = x.rows[:0], 0
	for _, b := range x.used {
		b.Release()
	}
	clear(x.used)
	x.used = x.used[:0]
	err := write.Append(out, "objects", x.objects)
	x.objects = x.objects[:0]
	return err
}

// add puts a body into its table, unless an equal one was added a short while ago.
func (x *bodies) add(b *dissect.Body, c *table.Call) {
	if b == nil {
		return
	}
	x.used = append(x.used, b)
	if b.Large || b.Size() == 0 && b.Lost() == 0 {
		return
	}
	if _, ok := x.kept[b.Hash]; ok {
		return
	}
	if len(x.ring) < x.limit.Scale(bodyWindow) {
		x.ring = append(x.ring, b.Hash)
	} else {
		delete(x.kept, x.ring[x.at])
		x.ring[x.at] = b.Hash
		x.at = (x.at + 1) % len(x.ring)
	}
	x.kept[b.Hash] = struct{}{}
	x.split(b, c)
}

// split makes the rows of a body, one for each part.
func (x *bodies) split(b *dissect.Body, c *table.Call) {
	data := b.Bytes()
	text := isText(data)
	for part, off := int32(0), 0; ; part++ {
		end := min(off+bodyPart, len(data))
		if text {
			for end < len(data) && !utf8.RuneStart(data[end]) {
				end--
			}
		}
		row := table.Body{SHA256: b.Hash, Part: part, Offset: int64(off), Size: int64(len(data)), WireSize: b.WireSize(),
			Complete: b.Complete && b.Lost() == 0, FirstCallNo: c.CallNo}
		row.ContentType = table.NonEmpty(b.ContentType)
		row.Encoding = table.NonEmpty(b.Codings)
		if text {
			row.Text = table.Some(unsafe.String(unsafe.SliceData(data[off:end]), end-off))
		} else {
			row.Bytes = data[off:end:end]
			if row.Bytes == nil {
				row.Bytes = []byte{}
			}
		}
		x.rows = append(x.rows, row)
		x.size += end - off
		if end == len(data) {
			return
		}
		off = end - bodyOverlap
		for text && !utf8.RuneStart(data[off]) {
			off--
		}
	}
}

// isText reports whether p is UTF-8 without control characters but tab and line ends.
func isText(p []byte) bool {
	for _, c := range p {
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' || c == 0x7f {
			return false
		}
	}
	return utf8.Valid(p)
}
