// Package wire is what a program and its database worker say to each other: frames over
// two pipes, and the values of rows in them.
//
// Both sides take the other for hostile: lengths, counts, places and depths are checked
// before memory is made for them, and what does not fit is an error, never a panic.
package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Argument is the first argument of a program that is started as a worker.
const Argument = "question-worker"

// Limits of what is sent.
const (
	MaxFrame = 64 << 20 // bytes
	// MaxRow is what one row may hold in memory, which is more than its bytes in a frame.
	MaxRow   = 48 << 20
	maxDepth = 80      // values in values
	maxList  = 1 << 20 // texts in a list, columns, shapes
	maxBig   = 32      // bytes of an integer
	perValue = 16      // bytes of memory of any value in a list, struct or map
)

// Kind is what a frame is for.
type Kind byte

// Frames that the program sends. Every one but Begin, Mask and Trim is of a stream; the
// program chooses its number.
const (
	Open   Kind = 'O' // the first frame: Settings; answered by Ready or Failed
	Begin  Kind = 'B' // statements with which each connection of the next kind begins
	Mask   Kind = 'M' // Masks: what views mask from now on
	Query  Kind = 'Q' // a Question; answered by Head or Failed
	Next   Kind = 'N' // asks for the batch after Head or Batch; answered by Batch or Failed
	Stop   Kind = 'X' // ends a stream, whatever it does; answered by Stopped
	Forget Kind = 'A' // closes a connection that a Question named as its own
	Trim   Kind = 'T' // gives freed memory back
)

// Frames that the worker sends.
const (
	Ready   Kind = 'K' // the database is open
	Head    Kind = 'C' // columns, and the first batch
	Batch   Kind = 'R' // rows; with none the stream is over
	Failed  Kind = 'E' // an error; the stream is over
	Stopped Kind = 'D' // the stream is over and its connection is free
)

// ErrFrame says that a frame is not as it should be.
var ErrFrame = errors.New("the frame is not valid")

// Frame is one message.
type Frame struct {
	Kind   Kind
	Stream uint64
	Body   []byte
}

// WriteFrame writes a frame. body may be of several parts, so that none is copied.
func WriteFrame(w io.Writer, kind Kind, stream uint64, body ...[]byte) error {
	head := make([]byte, 4, 16)
	head = append(head, byte(kind))
	head = binary.AppendUvarint(head, stream)
	size := len(head) - 4
	for _, b := range body {
		size += len(b)
	}
	if size > MaxFrame {
		return fmt.Errorf("writing a frame: %d bytes, at most %d are allowed", size, MaxFrame)
	}
	binary.LittleEndian.PutUint32(head, uint32(size))
	if _, err := w.Write(head); err != nil {
		return err
	}
	for _, b := range body {
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// ReadFrame reads a frame into memory of its own.
func ReadFrame(r *bufio.Reader) (Frame, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Frame{}, err
	}
	size := binary.LittleEndian.Uint32(head[:])
	if size < 2 || size > MaxFrame {
		return Frame{}, fmt.Errorf("%w: %d bytes", ErrFrame, size)
	}
	body, err := readSize(r, int(size))
	if err != nil {
		return Frame{}, err
	}
	stream, n := binary.Uvarint(body[1:])
	if n <= 0 {
		return Frame{}, fmt.Errorf("%w: no stream", ErrFrame)
	}
	return Frame{Kind(body[0]), stream, body[1+n:]}, nil
}

// readSize reads size bytes. It makes room for what has come, not for what was announced.
func readSize(r io.Reader, size int) ([]byte, error) {
	const step = 1 << 20
	body := make([]byte, min(size, step))
	for at := 0; ; {
		n, err := io.ReadFull(r, body[at:])
		if at += n; err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if at == size {
			return body, nil
		}
		more := make([]byte, min(size, 2*len(body)))
		copy(more, body)
		body = more
	}
}
