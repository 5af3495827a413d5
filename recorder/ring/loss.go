package ring

import (
	"strings"
	"time"
)

// loss counts packets that could not be written to the ring.
type loss struct {
	packets, bytes uint64
	first, last    Time
	sequences      []Range
	detail         string
}

func (l *loss) add(ns Time, captured int) {
	if l.packets == 0 || ns < l.first {
		l.first = ns
	}
	if l.packets == 0 || ns > l.last {
		l.last = ns
	}
	l.packets++
	l.bytes += uint64(captured)
}

func (l *loss) skip(n uint64) {
	if k := len(l.sequences); k > 0 && l.sequences[k-1].To+1 == n {
		l.sequences[k-1].To = n
		return
	}
	l.sequences = append(l.sequences, Range{n, n})
}

// hole returns the gap for a loss, if there is one.
func (l *loss) hole(series string) (Hole, bool) {
	if l.packets == 0 && len(l.sequences) == 0 {
		return Hole{}, false
	}
	return Hole{Reason: "disk", Series: series, From: l.first, To: l.last, Packets: int64(l.packets), Bytes: int64(l.bytes),
		Detail: l.detail, Sequences: l.sequences}, true
}

// merge adds the loss that was stated in a segment that was never completed.
func (l *loss) merge(o *loss) {
	if o.packets > 0 {
		if l.packets == 0 || o.first < l.first {
			l.first = o.first
		}
		if l.packets == 0 || o.last > l.last {
			l.last = o.last
		}
		l.packets += o.packets
		l.bytes += o.bytes
	}
	later := l.sequences
	l.sequences = o.sequences
	for _, r := range later {
		if k := len(l.sequences); k > 0 && l.sequences[k-1].To+1 == r.From {
			l.sequences[k-1].To = r.To
		} else {
			l.sequences = append(l.sequences, r)
		}
	}
	if l.detail == "" {
		l.detail = o.detail
	}
}

const (
	repeatAfter = time.Minute // interval for the same error
	maxReported = 64          // errors that are remembered
)

// report reports an error, but repeats it only after a while: errors that differ only in
// numbers are the same.
func (w *Writer) report(err error) {
	w.reports.Lock()
	defer w.reports.Unlock()
	text := strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return -1
		}
		return r
	}, err.Error())
	if at, ok := w.reported[text]; ok && time.Since(at) <= repeatAfter {
		return
	}
	if len(w.reported) >= maxReported {
		clear(w.reported)
	}
	w.reported[text] = time.Now()
	w.opt.OnError(err)
}

func (w *Writer) setTrouble(err error) {
	w.mu.Lock()
	w.trouble = err
	w.mu.Unlock()
	if err != nil {
		w.report(err)
	}
}
