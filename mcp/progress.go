package mcp

import (
	"context"
	"fmt"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/forensics"
)

// progressEvery is how often a client that asked hears that its answer is being made.
const progressEvery = time.Second

// progress tells a client that gave a token how far its answer is, until stop. What is
// asked with the context says how much it has looked through.
func progress(ctx context.Context, req *mcp.CallToolRequest) (asking context.Context, stop func()) {
	token := req.Params.GetProgressToken()
	if token == nil {
		return ctx, func() {}
	}
	w := &waiting{read: &forensics.Progress{}, at: stageOf(ctx)}
	telling, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		begin := time.Now()
		for {
			select {
			case <-telling.Done():
				return
			case <-tick.C:
				p := w.told(time.Since(begin))
				p.ProgressToken = token
				if req.Session.NotifyProgress(telling, p) != nil {
					return // the client is gone, or is told nothing in this mode
				}
			}
		}
	}()
	return forensics.WithProgress(ctx, w.read), func() { cancel(); <-done }
}

// waiting is what a client is told while it waits: the bytes that were looked through, and
// before there are any the seconds, with how many questions are before its own. The number
// always grows, as the protocol wants it.
type waiting struct {
	read *forensics.Progress
	at   *stage
	last float64
}

func (w *waiting) told(since time.Duration) *mcp.ProgressNotificationParams {
	done, total := w.read.Bytes()
	if total == 0 {
		w.last = max(w.last, since.Seconds())
		return &mcp.ProgressNotificationParams{Progress: w.last, Message: w.at.text()}
	}
	w.last = max(w.last+1, float64(done))
	p := &mcp.ProgressNotificationParams{Progress: w.last, Message: fmt.Sprintf("looked through %.1f of %.1f MB", float64(done)/1e6, float64(total)/1e6)}
	if w.last <= float64(total) {
		p.Total = float64(total)
	}
	return p
}
