package cli

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
)

// progress draws one line on a terminal and nothing anywhere else.
type progress struct {
	e     *env
	on    bool
	mu    sync.Mutex
	began time.Time
	last  time.Time
	shown bool
}

func newProgress(e *env) *progress {
	return &progress{e: e, on: terminal(e.err), began: time.Now()}
}

const barWidth = 24

func (p *progress) update(s exporter.Progress) {
	if !p.on {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.last) < 100*time.Millisecond && s.Stage == "reading" {
		return
	}
	p.last, p.shown = now, true
	line := fmt.Sprintf("%s  %s packets  %s calls", s.Stage, thousands(s.Packets), thousands(s.Calls))
	if s.TotalBytes > 0 && s.Stage == "reading" {
		part := min(float64(s.ReadBytes)/float64(s.TotalBytes), 1)
		full := int(part * barWidth)
		line = fmt.Sprintf("[%s%s] %3.0f %%  ", strings.Repeat("█", full), strings.Repeat("░", barWidth-full), part*100) + line
	}
	if secs := now.Sub(p.began).Seconds(); secs > 0.5 && s.ReadBytes > 0 {
		line += fmt.Sprintf("  %s/s", byteSize(int64(float64(s.ReadBytes)/secs)))
	}
	fmt.Fprintf(p.e.err, "\r\x1b[K%s", line)
}

func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.e.err, "\r\x1b[K")
	}
}
