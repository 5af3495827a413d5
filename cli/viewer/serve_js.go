package viewer

import (
	"context"
	"syscall/js"
)

// serve answers the questions of the page, one after the other, until the page ends the worker.
func serve(ctx context.Context, r asker) error {
	questions := make(chan []js.Value, 64)
	js.Global().Call("pcapsuleReady", js.FuncOf(func(_ js.Value, args []js.Value) any {
		go func() { questions <- args }() // a callback must not wait
		return nil
	}))
	for q := range questions {
		a := r.Ask(ctx, q[0].String(), []byte(q[1].String()))
		body := js.Global().Get("Uint8Array").New(len(a.Body))
		js.CopyBytesToJS(body, a.Body)
		q[2].Invoke(a.Status, a.Type, body)
	}
	return nil
}
