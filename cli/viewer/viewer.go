// Package viewer is the program in pcapsule-viewer.html: the commands of pcapsule that a browser tab can run. A tab has no
// terminal, so the page gives arguments, and reads what the command prints.
//
// It has no questions, which need DuckDB, and reaches no network.
package viewer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/verify"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/handover"
)

// Main runs a command and returns its exit code.
func Main(args []string, out, errOut io.Writer) int {
	s := &console.Streams{Out: &console.Sink{W: out}, Err: &console.Sink{W: errOut}}
	s.Meter = meter(os.Getenv("PCAPSULE_PROGRESS"))
	root := &cobra.Command{Use: "pcapsule-viewer", Short: "Check bundles in a browser", SilenceErrors: true, SilenceUsage: true}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(verify.Command(s, func(string) {}), words(s))
	root.SetArgs(args)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return exit.Done
	}
	text, hint, code := explain(err)
	fmt.Fprintln(s.Err, "error: "+console.Lines(text))
	if hint != "" {
		fmt.Fprintln(s.Err, "hint: "+console.Lines(hint))
	}
	return code
}

// explain returns an error's text, the next step and its code.
func explain(err error) (text, hint string, code int) {
	var coded *exit.Error
	var damaged *bundle.DamagedError
	var newer *bundle.NewerSchemaError
	text = strings.TrimSpace(exit.Text(err))
	switch {
	case errors.As(err, &coded):
		return text, coded.Hint, coded.Code
	case errors.As(err, &newer):
		return text, "use a newer viewer", exit.Newer
	case errors.As(err, &damaged):
		return text, "ask for the original", exit.Damaged
	case errors.Is(err, bundle.ErrNotBundle):
		return text, "choose the folder of a bundle, or its ZIP", exit.NotBundle
	case exit.IsDisk(err):
		return text, "this tab has no more memory for files; check the bundle with pcapsule verify", exit.Disk
	}
	return text, "", exit.Other
}

// meter returns a function that writes progress to a file, one line of JSON each time; nil without a file.
func meter(path string) func(done, total int64, text string) {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil // a check does not depend on its progress
	}
	enc := json.NewEncoder(f)
	return func(done, total int64, text string) {
		_ = enc.Encode(map[string]any{"done": done, "total": total, "text": text})
	}
}

// words returns the command words, which prints a fingerprint as the cover sheet of a handover has it.
func words(s *console.Streams) *cobra.Command {
	return &cobra.Command{
		Use: "words FINGERPRINT", Short: "Print a fingerprint in words", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var d bundle.Digest
			if err := d.UnmarshalText([]byte(args[0])); err != nil {
				return exit.Usagef("fingerprint: %w", err)
			}
			fmt.Fprintln(s.Out, handover.Words(d))
			return nil
		},
	}
}
