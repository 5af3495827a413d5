package sha

import (
	"crypto/sha256"
	"hash"
	"syscall/js"
)

// Piece is how many bytes of a file are read at once. Each reading waits for the browser.
const Piece = 1 << 20

var (
	given = js.Global().Get("pcapsuleBlocks") // of the page: (state, blocks) changes state
	array = js.Global().Get("Uint8Array")
)

// New returns a SHA-256 of no bytes, whose state StateOf knows.
func New() hash.Hash {
	if given.Type() != js.TypeFunction {
		return sha256.New()
	}
	state, room := array.New(sha256.Size), array.New(Piece)
	return &fast{sha256.New(), func(s State, blocks []byte) State {
		js.CopyBytesToJS(state, s[:])
		for len(blocks) > 0 {
			n := js.CopyBytesToJS(room, blocks)
			given.Invoke(state, room.Call("subarray", 0, n))
			blocks = blocks[n:]
		}
		js.CopyBytesToGo(s[:], state)
		return s
	}}
}
