package stream

// Limits of a History.
const (
	historyStart   = 16 << 10  // initial size in bytes
	historyBytes   = 512 << 10 // largest size in bytes
	historyRecords = 4096
	recordCost     = 48
	maxLook        = 1024 // records to compare one segment with
)

// History keeps the latest bytes that the connections of one shard delivered, to compare later
// copies with them. It takes its memory from the Budget while that is plentiful, and drops the
// oldest bytes first.
type History struct {
	Budget *Budget

	bytes   []byte // a ring
	written uint64 // bytes so far
	records []record
	count   uint64 // records so far
}

// record is one delivered segment. The records of a direction form a list, newest first, with
// descending sequence numbers. Skips make a search in it logarithmic (Myers, "An applicative
// random-access stack", 1983).
type record struct {
	no     int64
	at     uint64 // in bytes, not wrapped
	before uint64 // 1 + the number of the direction's previous record, 0 if there is none
	skip   uint64 // the same of an older one, possibly the previous one
	depth  uint32 // older records in the list
	seq, n uint32
}

// add stores a delivered segment of direction h.
func (y *History) add(h *half, seq uint32, no int64, data []byte) {
	if !y.room(len(data)) {
		return
	}
	r := record{no: no, at: y.written, before: h.past, skip: h.past, seq: seq, n: uint32(len(data))}
	if last := y.find(h.past); last != nil {
		r.depth = last.depth + 1
		if far := y.find(last.skip); far != nil && last.depth-far.depth == far.span(y) {
			r.skip = far.skip
		}
	}
	if len(y.records) < historyRecords {
		y.records = append(y.records, r)
	} else {
		y.records[y.count%historyRecords] = r
	}
	y.count++
	h.past = y.count
	n := copy(y.bytes[y.written%uint64(len(y.bytes)):], data)
	copy(y.bytes, data[n:])
	y.written += uint64(len(data))
}

// room grows the ring before it wraps for the first time, as far as the budget allows, and
// reports whether n bytes fit.
func (y *History) room(n int) bool {
	for y.written+uint64(n) > uint64(len(y.bytes)) && y.written <= uint64(len(y.bytes)) && len(y.bytes) < historyBytes {
		size := max(2*len(y.bytes), historyStart)
		cost := y.cost(size) - y.cost(len(y.bytes))
		if y.Budget.Left < 4*cost {
			break
		}
		y.Budget.Left -= cost
		y.bytes = append(make([]byte, 0, size), y.bytes...)[:size]
	}
	return n > 0 && n <= len(y.bytes)
}

// cost is the memory of a ring of size bytes, including its share of the records.
func (y *History) cost(size int) int {
	return size + historyRecords*recordCost/(historyBytes/historyStart)*(size/historyStart)
}

// Drop frees everything. No connection may use the History afterwards.
func (y *History) Drop() {
	y.Budget.Left += y.cost(len(y.bytes))
	*y = History{Budget: y.Budget}
}

// find is the newest record of a direction from past on, nil if it was dropped.
func (y *History) find(past uint64) *record {
	if past == 0 || y.count-past >= historyRecords {
		return nil
	}
	r := &y.records[(past-1)%historyRecords]
	if y.written-r.at > uint64(len(y.bytes)) {
		return nil
	}
	return r
}

// span is the number of records that the skip of r passes.
func (r *record) span(y *History) uint32 {
	if far := y.find(r.skip); far != nil {
		return r.depth - far.depth
	}
	return 0
}

// search is the newest record of a direction, from past on, that begins before seq.
func (y *History) search(past uint64, seq uint32) *record {
	r := y.find(past)
	for r != nil && !before(r.seq, seq) {
		if far := y.find(r.skip); far != nil && !before(far.seq, seq) {
			r = far
		} else {
			r = y.find(r.before)
		}
	}
	return r
}

// equal reports whether r contains data from offset off on.
func (y *History) equal(r *record, off int, data []byte) bool {
	at := (r.at + uint64(off)) % uint64(len(y.bytes))
	n := min(len(data), len(y.bytes)-int(at))
	return string(y.bytes[at:int(at)+n]) == string(data[:n]) && string(y.bytes[:len(data)-n]) == string(data[n:])
}
