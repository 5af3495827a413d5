// Package wire is the protocol between a program and its database worker: frames over two pipes, and
// the values of rows in them.
//
// Both sides treat the other as hostile: lengths, counts, offsets and depths are checked before
// memory is allocated, and invalid data is an error, never a panic.
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

// ProgramArgument is the first argument of a process that becomes another program.
const ProgramArgument = "confined-program"

// Limits of messages.
const (
	MaxFrame = 64 << 20 // bytes
	// MaxRow is the highest memory of one row, which is more than its size in a frame.
	MaxRow   = 48 << 20
	maxDepth = 80      // values in values
	maxList  = 1 << 20 // texts in a list, columns, shapes
	maxBig   = 32      // bytes of an integer
	perValue = 16      // bytes of memory of any value in a list, struct or map
)

// Kind is the kind of a frame.
type Kind byte

// Frames that the program sends. All except Define, Mask and Trim belong to a stream; the program
// chooses its number.
const (
	Open   Kind = 'O' // the first frame: Settings; answered by Ready or Failed
	Define Kind = 'B' // Views of connections of one kind
	Mask   Kind = 'M' // Masks: what views mask from now on
	Query  Kind = 'Q' // a Question; answered by Head or Failed
	Next   Kind = 'N' // requests the batch after Head or Batch; answered by Batch or Failed
	Stop   Kind = 'X' // ends a stream in any state; answered by Stopped
	Forget Kind = 'A' // closes a connection that a Question named as its own
	Trim   Kind = 'T' // returns freed memory to the kernel
)

// Frames that the worker sends.
const (
	Ready   Kind = 'K' // the database is open
	Head    Kind = 'C' // columns, and the first batch
	Batch   Kind = 'R' // rows; without rows the stream is over
	Failed  Kind = 'E' // an error; the stream is over
	Stopped Kind = 'D' // the stream is over and its connection is free
)

// ErrFrame reports an invalid frame.
var ErrFrame = errors.New("the frame is not valid")

// Frame is one message.
type Frame struct {
	Kind   Kind
	Stream uint64
	Body   []byte
}

// WriteFrame writes a frame. body may have several parts, to avoid copying.
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

// ReadFrame reads a frame into newly allocated memory.
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

// readSize reads size bytes. It allocates memory as data arrives, not for the announced size.
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
