package mcp

import (
	"context"
	"fmt"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/mcp/queue"
)

// progressEvery is the interval of progress notifications.
const progressEvery = time.Second

// progress notifies a client that sent a progress token, until stop is called. Queries made with
// the returned context report how much they have read.
func progress(ctx context.Context, req *mcp.CallToolRequest) (child context.Context, stop func()) {
	token := req.Params.GetProgressToken()
	if token == nil {
		return ctx, func() {}
	}
	w := &notifier{read: &forensics.Progress{}, at: queue.StageOf(ctx)}
	notifying, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		begin := time.Now()
		for {
			select {
			case <-notifying.Done():
				return
			case <-tick.C:
				p := w.notification(time.Since(begin))
				p.ProgressToken = token
				if req.Session.NotifyProgress(notifying, p) != nil {
					return // the client is gone, or this mode has no notifications
				}
			}
		}
	}()
	return forensics.WithProgress(ctx, w.read), func() { cancel(); <-done }
}

// notifier makes the notifications of one question: the bytes read or, before the first, the
// seconds and the number of questions ahead of it. The progress always increases, as MCP requires.
type notifier struct {
	read *forensics.Progress
	at   *queue.Stage
	last float64
}

func (w *notifier) notification(since time.Duration) *mcp.ProgressNotificationParams {
	done, total := w.read.Bytes()
	if total == 0 {
		w.last = max(w.last, since.Seconds())
		return &mcp.ProgressNotificationParams{Progress: w.last, Message: w.at.Text()}
	}
	w.last = max(w.last+1, float64(done))
	p := &mcp.ProgressNotificationParams{Progress: w.last, Message: fmt.Sprintf("read %.1f of %.1f MB", float64(done)/1e6, float64(total)/1e6)}
	if w.last <= float64(total) {
		p.Total = float64(total)
	}
	return p
}
