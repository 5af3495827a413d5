package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Sizes of the heads of record batches (format 2) and messages (formats 0 and 1).
const (
	batchHead   = 61
	batchPrefix = 12 // offset and length, which the length does not count
	magicAt     = 16
	minBatch    = 14 // length of the shortest message
)

// batch reads the records of a partition, which have size bytes in the message. It returns the first and the last offset,
// -1 if there is none. The head of a batch counts its records.
func (f *facts) batch(b []byte, size int) (first, last int64) {
	first, last = -1, -1
	rest := int64(size)
	for len(b) > magicAt {
		base, size := int64(binary.BigEndian.Uint64(b)), int64(int32(binary.BigEndian.Uint32(b[8:])))
		if size < minBatch || size > maxMessage {
			f.k.Conn.Anomaly("malformed", fmt.Sprintf("reading a record batch: length %d", size), 0)
			return first, last
		}
		end := batchPrefix + size
		if end > rest { // servers cut the last batch of a response to Fetch
			return first, last
		}
		complete := end <= int64(len(b))
		one := b[:min(end, int64(len(b)))]
		delta := int64(0)
		switch magic := b[magicAt]; {
		case magic == 2 && len(one) >= batchHead:
			delta = f.batch2(one, complete)
		case magic < 2:
			f.message(one, complete)
		case magic > 2:
			f.k.Conn.Anomaly("malformed", fmt.Sprintf("reading a record batch: format %d", magic), 0)
			return first, last
		}
		if first < 0 {
			first = base
		}
		last = max(last, base+delta)
		if rest -= end; !complete {
			f.c.uncounted = f.c.uncounted || rest > magicAt || len(one) < batchHead || one[magicAt] < 2
			return first, last
		}
		b = b[end:]
	}
	f.c.uncounted = f.c.uncounted || rest > magicAt
	return first, last
}

// batch2 reads a batch of format 2. It returns the difference from its first to its last offset.
func (f *facts) batch2(b []byte, complete bool) int64 {
	attributes := binary.BigEndian.Uint16(b[21:])
	delta, count := int64(int32(binary.BigEndian.Uint32(b[23:]))), int64(int32(binary.BigEndian.Uint32(b[57:])))
	if attributes&0x20 != 0 { // a marker of a transaction's end
		return max(delta, 0)
	}
	f.batches++
	f.records += max(count, 0)
	f.compressed(attributes)
	if !complete {
		return max(delta, 0)
	}
	r := newReader(f.inflate(attributes, b[batchHead:], false), true)
	for ; count > 0 && r.Left() > 0; count-- {
		size := r.varint()
		if size < 0 || size > int64(r.Left()) {
			break
		}
		f.record(newReader(r.Bytes(int(size)), true))
	}
	return max(delta, 0)
}

// compressed keeps the compression of the first batch.
func (f *facts) compressed(attributes uint16) {
	if !f.row.Compression.OK {
		f.row.Compression = table.Some(tables()["compression"].Name(int64(attributes&7), "compression_"))
	}
}

// inflate decompresses the records of a batch, as far as they are shown. In an old format nothing else counts them.
func (f *facts) inflate(attributes uint16, b []byte, old bool) []byte {
	coding := tables()["compression"].Name(int64(attributes&7), "compression_")
	if coding == "none" {
		return b
	}
	out, err := f.k.Conn.Decompress(coding, b, maxInflate-f.inflated)
	f.inflated += len(out)
	if _, ok := errors.AsType[dissect.DecompressLimit](err); ok {
		f.partial = true
		f.c.uncounted = f.c.uncounted || old
	} else if err != nil {
		f.k.Conn.Anomaly("compression", "reading a record batch: "+err.Error(), 0)
	}
	return out
}

// record reads a record of format 2.
func (f *facts) record(r *reader) {
	r.int8()
	r.varint() // time
	r.varint() // offset
	key, value := f.blob(r), f.blob(r)
	if r.Short() {
		return
	}
	f.value(key, value)
	for n := r.varint(); n > 0 && !r.Short(); n-- {
		name, v := f.blob(r), f.blob(r)
		if r.Short() {
			return
		}
		f.header(name, v)
	}
}

// blob reads bytes after their length; nil for null.
func (f *facts) blob(r *reader) []byte {
	n := r.varint()
	if n < 0 || n > int64(r.Left()) {
		if n > 0 {
			r.Bytes(-1)
		}
		return nil
	}
	return r.Bytes(int(n))
}

// value keeps a record's key and value. The values of a message are its body, a line each.
func (f *facts) value(key, value []byte) {
	row := f.row
	if f.body == nil {
		f.body = f.k.Conn.NewBody("", "")
	} else {
		f.body.Write([]byte{'\n'})
	}
	f.body.Write(value)
	if len(row.Values) >= maxRecords {
		return
	}
	v := message.Show(value)
	row.Values = append(row.Values, v)
	if k := message.Show(key); len(key) > 0 {
		row.Keys = append(row.Keys, k)
		f.c.texts += len(k) + 16
	}
	f.c.texts += len(v) + 16
}

// header keeps a header of a record.
func (f *facts) header(name, value []byte) {
	if len(f.row.Headers) >= maxList {
		return
	}
	h := table.Header{Name: message.Text(name), Value: message.Show(value), Kind: httpfield.Request}
	if f.response {
		h.Kind = httpfield.Response
	}
	f.row.Headers = append(f.row.Headers, h)
	f.c.texts += len(h.Name) + len(h.Value) + 48
}

// message reads a message of format 0 or 1, which may hold others in compressed form.
func (f *facts) message(b []byte, complete bool) {
	r := newReader(b[magicAt:], false)
	magic := r.int8()
	attributes := uint16(r.Uint8())
	if f.compressed(attributes); magic == 1 {
		r.int64() // time
	}
	if attributes&7 == 0 {
		f.batches++
		f.records++
		if key, value := f.sized(r), f.sized(r); !r.Short() {
			f.value(key, value)
		}
		return
	}
	f.sized(r)
	inner := f.sized(r)
	if r.Short() || !complete {
		f.batches++
		return
	}
	if attributes&7 > 3 {
		return
	}
	for b := f.inflate(attributes, inner, true); len(b) > magicAt; {
		end := batchPrefix + int64(int32(binary.BigEndian.Uint32(b[8:])))
		if end < batchPrefix+minBatch || end > int64(len(b)) || b[magicAt] > 1 || b[magicAt+1]&7 != 0 { // a message in it holds no others
			return
		}
		f.message(b[:end], true)
		b = b[end:]
	}
}

// sized reads bytes after their length of 4 bytes; nil for null.
func (f *facts) sized(r *reader) []byte {
	n := r.int32()
	if n < 0 {
		return nil
	}
	return r.Bytes(int(n))
}
