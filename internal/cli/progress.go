package cli

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/internal/cli/console"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// progress draws one line on a terminal. It prints nothing to a file or pipe.
type progress struct {
	e     *env
	on    bool
	mu    sync.Mutex
	began time.Time
	last  time.Time
	shown bool
}

func newProgress(e *env) *progress {
	return &progress{e: e, on: draws(e.err), began: time.Now()}
}

const barWidth = 16

func (p *progress) update(s exporter.Progress) {
	reading := s.Stage == "reading"
	total := s.TotalBytes
	if !reading {
		total = 0
	}
	p.draw(!reading, s.ReadBytes, total, func() string {
		return fmt.Sprintf("%s  %s packets  %s calls", s.Stage, plural.Thousands(s.Packets), plural.Thousands(s.Calls))
	})
}

// bytes returns a function that draws the progress of work measured in bytes.
func (p *progress) bytes(stage string) func(done, total int64) {
	return func(done, total int64) { p.draw(false, done, total, func() string { return stage }) }
}

// draw draws the line, at most 10 times a second unless now is set. If total is 0 there is
// no bar.
func (p *progress) draw(now bool, done, total int64, text func() string) {
	if !p.on {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	at := time.Now()
	if at.Sub(p.last) < 100*time.Millisecond && !now {
		return
	}
	p.last, p.shown = at, true
	line := progressLine(at.Sub(p.began), done, total, text())
	if n := columnsOf(p.e.err); n > 1 {
		line = printable(line, n-2) // a character in the last column would wrap the line
	}
	fmt.Fprintf(console.Drawn(p.e.err), "\r\x1b[K%s", line)
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
		line += byteSize(int64(rate)) + "/s  "
		if left := time.Duration(float64(total-done) / rate * 1e9); total > done && secs > 2 {
			line += left.Round(time.Second).String() + " left  "
		}
	}
	return line + text
}

func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(console.Drawn(p.e.err), "\r\x1b[K")
	}
}
