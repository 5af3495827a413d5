package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/exporting"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/version"
	"github.com/pcapsule/pcapsule/internal/whole"
)

type decryptFlags struct {
	output   string
	keys     exporting.Keys
	filter   string
	decodeAs []string
	jobs     int
	memory   command.Size
}

func (e *env) cmdDecrypt() *cobra.Command {
	var f decryptFlags
	c := &cobra.Command{
		Use:   "decrypt INPUT... -o PLAIN.pcapng",
		Short: "Write the plaintext of TLS, DTLS and QUIC for tools that cannot decrypt",
		Long: `Write the plaintext of TLS, DTLS and QUIC connections as a pcapng file of link type 252, which
Wireshark, tshark and others read without keys. Each record or datagram becomes a PDU with the
addresses, ports, time and frame number of the captured packet. PDUs are not packets, and the
file states that. Inputs are captures, folders of captures, bundles, or - for standard input. Keys
are read from the captures, from bundles that contain keys, and from --keys.`,
		Example: `  pcapsule decrypt capture.pcapng --keys sslkeys.log -o plain.pcapng
  pcapsule decrypt incident.pcapsule -o - | tshark -r - -Y http`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return e.runDecrypt(c, args, &f) },
	}
	fl := c.Flags()
	fl.StringVarP(&f.output, "output", "o", "", "capture to write; - is standard output")
	f.keys.Register(fl)
	fl.StringVar(&f.filter, "filter", "", "read only packets that match this tcpdump filter")
	fl.StringArrayVar(&f.decodeAs, "decode-as", nil, "protocol of a server port, such as tcp/9000=tls; can be repeated")
	jobsFlag(fl, &f.jobs)
	memoryFlag(fl, &f.memory)
	return c
}

func (e *env) runDecrypt(c *cobra.Command, args []string, f *decryptFlags) error {
	switch {
	case f.output == "":
		return exit.Usagef("missing output: give -o PLAIN.pcapng, or -o - for standard output")
	case f.output == "-" && console.Terminal(e.Out):
		return exit.Usagef("refusing to write a capture to a terminal: give -o PLAIN.pcapng or redirect it")
	}
	o := exporter.Options{Filter: f.filter, Jobs: f.jobs, Release: version.Release, Stdin: e.In}
	var err error
	if o.DecodeAs, err = parseDecodeAs(f.decodeAs); err != nil {
		return err
	}
	if err := applyKeys(&f.keys, &o); err != nil {
		return err
	}
	o.Memory = limitMemory(f.memory)
	if f.output != "-" {
		if err := exit.NewOutput(f.output); err != nil {
			return err
		}
	}
	bar := e.Progress()
	o.Progress = drawn(bar)
	s, err := e.decrypt(c.Context(), args, f.output, o)
	bar.Clear()
	if errors.Is(err, fs.ErrExist) {
		return exit.With(err, exit.Exists, "")
	}
	if err != nil {
		return e.bundleError(c.Context(), err, f.output)
	}
	e.printDecrypted(s, f.output)
	return nil
}

func (e *env) decrypt(ctx context.Context, inputs []string, output string, o exporter.Options) (*exporter.DecryptStats, error) {
	if output == "-" {
		return exporter.Decrypt(ctx, inputs, e.Exact(), o)
	}
	out, err := whole.CreateFile(output)
	if err != nil {
		return nil, err
	}
	defer out.Abort()
	s, err := exporter.Decrypt(ctx, inputs, out, o)
	if err != nil {
		return nil, err
	}
	return s, out.Commit()
}

// printDecrypted reports what was decrypted, and why the rest was not.
func (e *env) printDecrypted(s *exporter.DecryptStats, output string) {
	for _, w := range s.Warnings {
		e.Warn("%s", w)
	}
	to := e.Out
	if output == "-" {
		to = e.Err
	}
	var all int64
	for _, n := range s.Connections {
		all += n
	}
	opened := s.Connections[dissect.KeyVerified.String()]
	fmt.Fprintf(to, "%s: %s, %s of plaintext from %s of %s\n", output, plural.Count(s.PDUs, "PDU", "PDUs"), console.ByteSize(s.Bytes),
		plural.Thousands(opened), plural.Count(all, "encrypted connection", "encrypted connections"))
	if all > 0 {
		fmt.Fprintf(to, "keys: %s\n", listed(s.Connections))
	}
	if len(s.Reasons) > 0 {
		fmt.Fprintf(to, "not or only partly decrypted: %s\n", listed(s.Reasons))
	}
	switch {
	case all == 0:
		e.Warn("nothing to decrypt: %s without a TLS, DTLS or QUIC connection", plural.Count(s.Packets, "packet", "packets"))
	case opened == 0 && s.Reasons[dissect.NoKey] > 0:
		e.Warn("nothing was decrypted: no key for %s; give keys with --keys", plural.Count(s.Reasons[dissect.NoKey], "connection", "connections"))
	case opened == 0:
		e.Warn("nothing was decrypted")
	case s.PDUs == 0:
		e.Warn("connections were decrypted, but contain no data")
	}
}

// listed lists counts by name, in alphabetical order.
func listed(counts map[string]int64) string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, fmt.Sprintf("%s %s", k, plural.Thousands(counts[k])))
	}
	return strings.Join(list, ", ")
}
