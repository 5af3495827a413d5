package rpc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// Limits of the standard streams.
const (
	MaxLine    = 4 << 20     // bytes of one message
	AnswerWait = time.Minute // for answers in progress at the end of the input
)

// Lines sits between the streams and the SDK. It answers invalid messages, and delays the end of
// the input until every request is answered, so that a file of requests works too.
type Lines struct {
	in   *bufio.Reader
	feed *io.PipeWriter

	outMu sync.Mutex
	out   io.Writer
	line  []byte // the incomplete last line of the output

	mu   sync.Mutex
	open map[string]bool // requests without an answer
	none chan struct{}   // signals that the last request was answered
	old  bool            // the client uses a revision with batches
	met  bool            // the client sent initialize
}

// NewLines returns the Lines between a pair of streams. The SDK reads valid messages from pipe
// and writes answers to l.
func NewLines(in io.Reader, out io.Writer) (l *Lines, pipe *io.PipeReader) {
	pipe, feed := io.Pipe()
	return &Lines{in: bufio.NewReaderSize(in, 64<<10), out: out, feed: feed, open: map[string]bool{}, none: make(chan struct{}, 1)}, pipe
}

// Pass forwards each message of the input to the SDK.
func (l *Lines) Pass(ctx context.Context) error {
	defer l.feed.Close()
	var first error
	messages := 0
	for {
		line, err := l.next()
		if len(bytes.TrimSpace(line)) > 0 {
			ok, bad := l.accept(line)
			if bad != nil {
				if first == nil && bad.ID == nil { // a message with an id is one of JSON-RPC
					first = bad
				}
				if _, werr := l.Write(append(bad.Wire(), '\n')); werr != nil {
					return werr
				}
			}
			messages += ok
			if ok > 0 {
				if _, werr := l.feed.Write(append(line, '\n')); werr != nil {
					return werr
				}
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if messages == 0 && first != nil {
		return fmt.Errorf("the input has no JSON-RPC message: %w", first)
	}
	l.drain(ctx)
	return nil
}

// next reads a line without its end. Of a line that is too long, it returns a part that is not a
// message, and skips the rest.
func (l *Lines) next() ([]byte, error) {
	var line []byte
	for {
		part, err := l.in.ReadSlice('\n')
		if len(line)+len(part) <= MaxLine {
			line = append(line, part...)
		} else if len(line) <= MaxLine {
			line = append(line[:0:0], bytes.Repeat([]byte{'x'}, MaxLine+1)...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		return bytes.TrimRight(line, "\r\n"), err
	}
}

// accept checks a line. ok is 0 if the line must not be forwarded.
func (l *Lines) accept(line []byte) (ok int, bad *Error) {
	if len(line) > MaxLine {
		return 0, &Error{Code: jsonrpc.CodeInvalidRequest, Text: fmt.Sprintf("the message is larger than %d bytes", MaxLine)}
	}
	list, batch, bad := Read(line)
	if bad != nil {
		return 0, bad
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if batch && !l.old {
		return 0, &Error{Code: jsonrpc.CodeInvalidRequest, Text: "a batch: the negotiated revision of the protocol has no batches"}
	}
	for i := range list {
		m := &list[i]
		switch method := m.Name(); {
		case m.Call():
			if l.open[idKey(m.ID)] {
				return 0, &Error{ID: m.ID, Code: jsonrpc.CodeInvalidRequest, Text: "a request with this id is already being answered"}
			}
			if early := m.Early(); early != nil && !l.met {
				return 0, early
			}
			if method == "subscriptions/listen" {
				continue // it is not answered until it ends
			}
			l.open[idKey(m.ID)] = true
			if method == "initialize" {
				l.met = true
				var p struct {
					Version string `json:"protocolVersion"`
				}
				l.old = json.Unmarshal(m.Params, &p) == nil && p.Version < "2025-06-18"
			}
		case method == "notifications/cancelled":
			var p struct {
				ID json.RawMessage `json:"requestId"`
			}
			if json.Unmarshal(m.Params, &p) == nil {
				l.answered(p.ID)
			}
		case method != "" && !batch && !KnownNotification(method):
			return 0, nil
		}
	}
	return len(list), nil
}

// answered removes a request from open. The caller holds mu.
func (l *Lines) answered(id json.RawMessage) {
	delete(l.open, idKey(id))
	if len(l.open) == 0 {
		select {
		case l.none <- struct{}{}:
		default:
		}
	}
}

// drain waits until every request is answered.
func (l *Lines) drain(ctx context.Context) {
	late := time.After(AnswerWait)
	for {
		l.mu.Lock()
		open := len(l.open)
		l.mu.Unlock()
		if open == 0 {
			return
		}
		select {
		case <-l.none:
		case <-late:
			return
		case <-ctx.Done():
			return
		}
	}
}

// Write writes answers and notes which requests they answer.
func (l *Lines) Write(p []byte) (int, error) {
	l.outMu.Lock()
	defer l.outMu.Unlock()
	n, err := l.out.Write(p)
	for rest := p; len(rest) > 0; {
		part, after, whole := bytes.Cut(rest, []byte("\n"))
		l.line = append(l.line, part...)
		if rest = after; whole {
			l.sent(l.line)
			l.line = l.line[:0]
		}
	}
	return n, err
}

// sent processes an answer that was written.
func (l *Lines) sent(line []byte) {
	var list []Message
	var one Message
	if json.Unmarshal(line, &one) == nil {
		list = append(list, one)
	} else if json.Unmarshal(line, &list) != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range list {
		if m.Method == nil && m.ID != nil {
			l.answered(m.ID)
		}
	}
}

// Close implements io.Closer. The caller closes the streams.
func (l *Lines) Close() error { return nil }
