// Package viewer is the program in pcapsule-viewer.html: the commands of pcapsule that a browser tab can run. A tab has no
// terminal, so the page gives arguments, and reads what the command prints.
//
// It answers the questions that need no database (forensics/reader), and reaches no network.
package viewer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/agekey"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/custody"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/exporting"
	"github.com/pcapsule/pcapsule/cli/verify"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/handover"
	"github.com/pcapsule/pcapsule/forensics/reader"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/version"
	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
)

// Main runs a command, or several with "then" between them, and returns its exit code.
func Main(args []string, out, errOut io.Writer) int {
	s := &console.Streams{Out: &console.Sink{W: out}, Err: &console.Sink{W: errOut}}
	s.Meter = meter(os.Getenv("PCAPSULE_PROGRESS"))
	for rest := args; ; {
		next := slices.Index(rest, then)
		if next < 0 {
			return run(s, rest)
		}
		if code := run(s, rest[:next]); code != exit.Done {
			return code
		}
		rest = rest[next+1:]
	}
}

// then is between two commands, of which the second runs if the first succeeds: both need the same files, and a tab keeps
// none from one run to the next.
const then = "then"

func run(s *console.Streams, args []string) int {
	root := &cobra.Command{Use: "pcapsule-viewer", Short: "Check bundles in a browser", SilenceErrors: true, SilenceUsage: true}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(verify.Command(s, rederive, func(string) {}), custody.Receive(s), bundled(s), read(s), decrypted(), words(s))
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
	var large *reader.TooLargeError
	text = strings.TrimSpace(exit.Text(err))
	switch {
	case errors.Is(err, handover.ErrEncrypted):
		return text, "enter the passphrase, or add the private key that opens it", exit.Usage
	case errors.As(err, &coded):
		return text, coded.Hint, coded.Code
	case errors.As(err, &newer):
		return text, "use a newer viewer", exit.Newer
	case errors.As(err, &damaged):
		return text, "ask for the original", exit.Damaged
	case errors.As(err, &large):
		return text, "read it with pcapsule open", exit.Limit
	case errors.Is(err, bundle.ErrNotBundle):
		return text, "choose the folder of a bundle, or its ZIP", exit.NotBundle
	case errors.Is(err, exporter.ErrNoInput), errors.Is(err, pcapng.ErrNotCapture), errors.Is(err, pcapng.ErrTooShort):
		return text, "choose pcap or pcapng files, also packed with gzip or zstd", exit.NotCapture
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

// decrypted returns the command decrypt, which opens a report of an encrypted package.
func decrypted() *cobra.Command {
	var output, passphrase string
	var identities []string
	c := &cobra.Command{
		Use: "decrypt FILE -o FILE", Short: "Decrypt a report of a package", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			ids, err := agekey.Opening(identities, passphrase)
			if err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			r, err := age.Decrypt(f, ids...)
			if err != nil {
				return fmt.Errorf("decrypting %s: %w", args[0], err)
			}
			return whole.Create(output, 0o600, func(w io.Writer) error {
				_, err := io.Copy(w, r)
				return err
			})
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "file to make")
	c.Flags().StringArrayVar(&identities, "identity", nil, "age identity or SSH private key")
	c.Flags().StringVar(&passphrase, "passphrase", "", "file with a passphrase")
	return c
}

// bundled returns the command bundle, which makes a bundle of captures and packs it, so that the page can save one file.
func bundled(s *console.Streams) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: "bundle CAPTURE... -o NAME.pcapsule", Short: "Make a bundle of captures, and its ZIP: NAME.pcapsule.zip", Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			bar := s.Progress()
			m, err := exporter.Run(c.Context(), args, output, exporter.Options{Release: version.Release, Progress: drawn(bar)})
			bar.Clear()
			if err != nil {
				return err
			}
			for _, w := range m.Warnings {
				s.Warn("%s", w)
			}
			var calls int64
			for _, n := range m.Calls {
				calls += n
			}
			fmt.Fprintf(s.Out, "%s, %s, %s\n", plural.Count(m.Accounts.Packets, "packet", "packets"), console.ByteSize(m.Accounts.Bytes), plural.Count(calls, "call", "calls"))
			return pack(c.Context(), output)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "", "bundle to make")
	return c
}

// pack writes the ZIP of a bundle beside it.
func pack(ctx context.Context, path string) error {
	b, err := bundle.Open(path)
	if err != nil {
		return err
	}
	return whole.Create(path+".zip", 0o600, func(w io.Writer) error {
		_, err := b.Pack(ctx, w, nil)
		return err
	})
}

// drawn returns a function that draws the progress of dissection.
func drawn(bar *console.Progress) func(exporter.Progress) {
	return func(p exporter.Progress) { exporting.Draw(bar, p.Stage, p.ReadBytes, p.TotalBytes, p.Packets, p.Calls) }
}

// rederive makes a bundle again for verify.
func rederive(ctx context.Context, b *bundle.Bundle, keys []string, identities []age.Identity, bar *console.Progress) (*bundle.Rederived, error) {
	return exporter.Rederive(ctx, b, exporter.Options{Release: version.Release, Keys: keys, Identities: identities, Progress: drawn(bar)})
}
