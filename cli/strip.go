package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// strippable reports whether an argument can only be a capture: neither a folder nor a ZIP.
func strippable(path string) bool {
	if path == "-" {
		return true
	}
	info, err := os.Stat(path)
	if err != nil || info.IsDir() {
		return false
	}
	if !info.Mode().IsRegular() { // opening a named pipe waits
		return true
	}
	return !command.IsBundlePath(path) && !isZIP(path)
}

// stripKeys copies a capture without its secrets.
func (e *env) stripKeys(c *cobra.Command, args []string, f *packetsFlags) error {
	if err := f.onlyStrip(c, args); err != nil {
		return err
	}
	if f.output != "-" {
		if err := exit.NewOutput(f.output); err != nil {
			return err
		}
	}
	in, done, err := e.captureIn(c.Context(), args[0])
	if err != nil {
		return &exporter.InputError{Path: args[0], Err: err}
	}
	defer done()
	src, err := pcapng.Open(in, pcapng.Limits{})
	if err != nil {
		return &exporter.InputError{Path: args[0], Err: err}
	}
	defer src.Close()
	var s pcapng.Stripped
	if f.output == "-" {
		s, err = stripTo(e.Exact(), args[0], src)
	} else {
		s, err = stripToFile(f.output, args[0], src)
	}
	if err != nil {
		return exit.OutputError(err, f.output)
	}
	e.printStripped(&s, src.Compression, f.output)
	return nil
}

// captureIn opens a capture whose reads end at an interrupt.
func (e *env) captureIn(ctx context.Context, path string) (io.Reader, func() error, error) {
	if path == "-" {
		return e.In, func() error { return nil }, nil
	}
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file; to read a pipe, give - and redirect the pipe to standard input")
	}
	if err != nil {
		return nil, nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	return console.NewInput(ctx, file), file.Close, nil
}

// onlyStrip refuses flags that select packets, because these need a bundle.
func (f *packetsFlags) onlyStrip(c *cobra.Command, args []string) error {
	if len(args) > 1 {
		return exit.Usagef("%s is a capture, and --strip-keys copies all its packets: make a bundle of it to select packets", args[0])
	}
	for _, name := range []string{"with-keys", "no-context", "keys", "identity", "with-context", "whole-connections", "call", "sql", "from", "to", "vantage", "comments"} {
		if c.Flags().Changed(name) {
			return exit.Usagef("%s is a capture, and --strip-keys copies all its packets: --%s needs a bundle", args[0], name)
		}
	}
	return nil
}

func stripToFile(path, input string, src io.Reader) (pcapng.Stripped, error) {
	out, err := whole.CreateFile(path)
	if err != nil {
		return pcapng.Stripped{}, err
	}
	defer out.Abort()
	s, err := stripTo(out, input, src)
	if err != nil {
		return s, err
	}
	return s, out.Commit()
}

// stripTo names the input in its errors, unless the output failed.
func stripTo(out io.Writer, input string, src io.Reader) (pcapng.Stripped, error) {
	w := &watched{w: out}
	s, err := pcapng.Strip(w, src)
	if err != nil && !w.failed {
		err = &exporter.InputError{Path: input, Err: err}
	}
	return s, err
}

// watched is a writer that remembers whether it failed.
type watched struct {
	w      io.Writer
	failed bool
}

// Write implements io.Writer.
func (w *watched) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.failed = w.failed || err != nil
	return n, err
}

func (e *env) printStripped(s *pcapng.Stripped, packed pcapng.Compression, output string) {
	to := e.Out
	if output == "-" {
		to = e.Err
	}
	what := "it contained no secrets"
	switch {
	case s.Format == pcapng.FormatPcap && s.Blocks == 0:
		what = "this format cannot contain secrets"
	case s.Blocks > 0:
		what = fmt.Sprintf("%s removed: %s bytes, %s", plural.Count(s.Blocks, "block of secrets", "blocks of secrets"), plural.Thousands(s.Bytes), plural.Count(s.Lines, "key line", "key lines"))
	}
	if packed != pcapng.CompressionNone {
		what += "; decompressed from " + string(packed)
	}
	fmt.Fprintf(to, "%s: %s, %s; %s\n", output, plural.Count(s.Packets, "packet", "packets"), console.ByteSize(s.Written), what)
	if s.Damaged > 0 {
		e.Warn("the input is damaged: %s bytes outside of blocks were removed because they may contain keys", plural.Thousands(s.Damaged))
	}
}
