package console

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Progress draws one line on a terminal. It prints nothing to a file or pipe.
type Progress struct {
	w     io.Writer
	on    bool
	meter func(done, total int64, text string)
	mu    sync.Mutex
	began time.Time
	last  time.Time
	shown bool
}

// Progress returns the progress of work that begins now. It is drawn on standard error.
func (s *Streams) Progress() *Progress {
	return &Progress{w: s.Err, on: draws(s.Err) || s.Meter != nil, meter: s.Meter, began: time.Now()}
}

const barWidth = 16

// Bytes returns a function that draws the progress of work measured in bytes.
func (p *Progress) Bytes(stage string) func(done, total int64) {
	return func(done, total int64) { p.Draw(false, done, total, func() string { return stage }) }
}

// Draw draws the line, at most 10 times a second unless now is set. If total is 0 there is
// no bar.
func (p *Progress) Draw(now bool, done, total int64, text func() string) {
	if !p.on {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	at := time.Now()
	if at.Sub(p.last) < 100*time.Millisecond && !now {
		return
	}
	p.last = at
	if p.meter != nil {
		p.meter(done, total, text())
		return
	}
	p.shown = true
	line := progressLine(at.Sub(p.began), done, total, text())
	if n := Columns(p.w); n > 1 {
		line = Printable(line, n-2) // a character in the last column would wrap the line
	}
	fmt.Fprintf(Drawn(p.w), "\r\x1b[K%s", line)
}

// progressLine says how much is done, how fast, and how long the rest will take. The most
// important part is first, because a narrow screen cuts the end.
func progressLine(took time.Duration, done, total int64, text string) string {
	line := ""
	if total > 0 {
		part := min(float64(done)/float64(total), 1)
		full := int(part * barWidth)
		line = fmt.Sprintf("%s%s %3.0f %%  ", strings.Repeat("█", full), strings.Repeat("░", barWidth-full), part*100)
	}
	if secs := took.Seconds(); secs > 0.5 && done > 0 {
		rate := float64(done) / secs
		line += ByteSize(int64(rate)) + "/s  "
		if left := time.Duration(float64(total-done) / rate * 1e9); total > done && secs > 2 {
			line += left.Round(time.Second).String() + " left  "
		}
	}
	return line + text
}

// Clear removes the line.
func (p *Progress) Clear() {
	if p.shown {
		fmt.Fprint(Drawn(p.w), "\r\x1b[K")
	}
}
