// Package rounds repeats a task of the hub until the hub ends.
package rounds

import (
	"context"
	"log/slog"
	"time"
)

// Every calls round at once and after each pause until ctx ends. Of failures in a row, it logs the first with a
// message.
func Every(ctx context.Context, pause time.Duration, log *slog.Logger, message string, round func(context.Context) error) {
	t := time.NewTicker(pause)
	defer t.Stop()
	failing := false
	for {
		err := round(ctx)
		if err != nil && ctx.Err() == nil && !failing {
			log.Warn(message, "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
