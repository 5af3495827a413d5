package exit

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// OnSignal returns a context that ends at Ctrl-C, SIGTERM or SIGHUP, which a closed terminal sends, so that a command
// can remove its unfinished output. A second signal ends the program at once. SIGHUP stays ignored below nohup.
func OnSignal() (ctx context.Context, stop func()) {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(hangup) {
		signals = append(signals, hangup)
	}
	ctx, stop = signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
