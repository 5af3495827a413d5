package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/mcp"
)

func (e *env) cmdMCP() *cobra.Command {
	var exportDir string
	var secrets bool
	c := &cobra.Command{
		Use:   "mcp BUNDLE...",
		Short: "Serve bundles to an assistant over MCP on standard input and output",
		Long: `Serve bundles to an assistant over the Model Context Protocol on standard input and output.
Every answer cites its packets and says what was recorded. Credentials in headers and URLs
are masked unless --show-secrets is given; bodies are as they were sent.`,
		Example: `  pcapsule mcp incident.pcapsule
  assistant mcp add incident -- pcapsule mcp /evidence/incident.pcapsule --export-dir /tmp`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeBundles,
		RunE: func(c *cobra.Command, args []string) error {
			if exportDir != "" {
				if info, err := os.Stat(exportDir); err != nil || !info.IsDir() {
					return usagef("--export-dir %s: not a folder", exportDir)
				}
			}
			if err := distinct(args); err != nil {
				return err
			}
			cs, err := forensics.Open(c.Context(), args, forensics.Options{MaskSecrets: !secrets})
			if err != nil {
				return err
			}
			defer cs.Close()
			asked := newAsked(c.Context())
			in, out := io.TeeReader(e.in, &lineWriter{each: asked.request}), io.MultiWriter(e.out, &lineWriter{each: asked.answer})
			err = mcp.Serve(c.Context(), cs, mcp.Options{Release: Release, ExportDir: exportDir, Secrets: secrets}, io.NopCloser(asked.drain(in)), nopCloser{out})
			if err == nil {
				err = c.Context().Err()
			}
			if err != nil && !closedPipe(err) {
				return codedError{fmt.Errorf("reading MCP messages from standard input: %w", err), exitOther, "an assistant starts this command and sends JSON-RPC, one message a line"}
			}
			return err
		},
	}
	c.Flags().StringVar(&exportDir, "export-dir", "", "folder where export_pcap may write; without it that tool refuses")
	c.Flags().BoolVar(&secrets, "show-secrets", false, "do not mask credentials")
	return c
}

// answerWait is how long the end of the input waits for answers that are still being made.
const answerWait = time.Minute

// asked knows the requests without an answer. The server stops at the end of its input
// and would leave them unanswered, so the end is held back: a file of requests works too.
type asked struct {
	ctx  context.Context
	mu   sync.Mutex
	open map[string]bool
	none chan struct{} // has an element when the last one was answered
}

func newAsked(ctx context.Context) *asked {
	return &asked{ctx: ctx, open: map[string]bool{}, none: make(chan struct{}, 1)}
}

func (a *asked) request(line []byte) {
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
		Params struct {
			RequestID json.RawMessage `json:"requestId"`
		} `json:"params"`
	}
	if json.Unmarshal(line, &m) != nil {
		return
	}
	switch {
	case m.Method == "notifications/cancelled":
		a.done(m.Params.RequestID)
	case m.Method != "" && m.ID != nil:
		a.mu.Lock()
		a.open[string(m.ID)] = true
		a.mu.Unlock()
	}
}

func (a *asked) answer(line []byte) {
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
	}
	if json.Unmarshal(line, &m) == nil && m.Method == "" {
		a.done(m.ID)
	}
}

func (a *asked) done(id json.RawMessage) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.open, string(id))
	if len(a.open) == 0 {
		select {
		case a.none <- struct{}{}:
		default:
		}
	}
}

// drain is r, its end held back until all is answered.
func (a *asked) drain(r io.Reader) io.Reader { return io.MultiReader(r, &drain{a}) }

type drain struct{ a *asked }

// Read implements io.Reader; it waits and gives nothing.
func (d *drain) Read([]byte) (int, error) {
	late := time.After(answerWait)
	for {
		d.a.mu.Lock()
		open := len(d.a.open)
		d.a.mu.Unlock()
		if open == 0 {
			return 0, io.EOF
		}
		select {
		case <-d.a.none:
		case <-late:
			return 0, io.EOF
		case <-d.a.ctx.Done():
			return 0, io.EOF
		}
	}
}

// maxLine is the longest message that is looked at.
const maxLine = 1 << 20

// lineWriter gives each line that is written to a function.
type lineWriter struct {
	line []byte
	long bool // past maxLine
	each func(line []byte)
}

// Write implements io.Writer.
func (l *lineWriter) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		part, after, whole := bytes.Cut(rest, []byte("\n"))
		if l.long = l.long || len(l.line)+len(part) > maxLine; !l.long {
			l.line = append(l.line, part...)
		}
		if rest = after; whole {
			if !l.long {
				l.each(l.line)
			}
			l.line, l.long = l.line[:0], false
		}
	}
	return len(p), nil
}

type nopCloser struct{ io.Writer }

// Close implements io.Closer; standard output is not ours to close.
func (nopCloser) Close() error { return nil }
