package custody

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/commit"
	"github.com/pcapsule/pcapsule/exporter/derive"
	"github.com/pcapsule/pcapsule/exporter/seal"
	"github.com/pcapsule/pcapsule/internal/whole"
)

// revealFlags are the flags of reveal.
type revealFlags struct {
	seed, row, output string
	packet            int64
	groups            []string
}

// Reveal returns the command reveal.
func Reveal(s *console.Streams) *cobra.Command {
	e := &env{s}
	f := revealFlags{packet: -1}
	c := &cobra.Command{
		Use:   "reveal BUNDLE --seed FILE -o NAME.json",
		Short: "Show one packet or row of a sealed bundle, with proof",
		Long: `Show one packet or row of a sealed bundle, with the proof that the seal committed to it. Someone who has only
a redacted or cut bundle checks it with verify --reveal, and learns nothing about other packets and
rows. Only rows that cannot be rebuilt from packets can be shown: those of workloads, k8s_events and
os_events, and of every table if keys decrypted something. --groups shows only some groups of columns: ` + strings.Join(commit.RowGroups(), ", ") + `.`,
		Example: `  pcapsule reveal incident.pcapsule --seed seed.json --packet 4711 -o packet.json
  pcapsule reveal incident.pcapsule --seed seed.json --row calls:17 --groups when,request -o call.json
  pcapsule verify for-the-vendor.pcapsule --signer examiner.pub --reveal call.json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return e.runReveal(c.Context(), args[0], &f) },
	}
	fl := c.Flags()
	fl.StringVar(&f.seed, "seed", "", "seed file of the bundle's seal (seal --commit)")
	fl.Int64Var(&f.packet, "packet", -1, "number of the packet (packet_no)")
	command.Between(fl, "packet", &f.packet, 0, math.MaxInt64)
	fl.StringVar(&f.row, "row", "", "row to show: calls:NUMBER by call_no, or TABLE:NUMBER, counted from 0")
	fl.StringSliceVar(&f.groups, "groups", nil, "groups of columns of the row to show (default: all)")
	fl.StringVarP(&f.output, "output", "o", "", "new file for the proof")
	return c
}

func (e *env) runReveal(ctx context.Context, path string, f *revealFlags) error {
	switch {
	case f.seed == "":
		return exit.Usagef("missing seed: give --seed FILE, which pcapsule seal --commit wrote")
	case f.output == "":
		return exit.Usagef("missing output: give -o NAME.json")
	case (f.packet < 0) == (f.row == ""):
		return exit.Usagef("give --packet NUMBER or --row TABLE:NUMBER")
	case f.row == "" && len(f.groups) > 0:
		return exit.Usagef("--groups is for --row")
	}
	name, number, ok := strings.Cut(f.row, ":")
	row, err := strconv.ParseUint(number, 10, 63)
	if f.row != "" && (!ok || err != nil) {
		return exit.Usagef("--row %s: must be TABLE:NUMBER, such as calls:17", f.row)
	}
	if err := exit.NewOutput(f.output); err != nil {
		return err
	}
	seed, err := seal.ReadSeed(f.seed)
	if err != nil {
		return exit.With(fmt.Errorf("reading --seed: %w", err), exit.NotCapture, "pcapsule seal --commit FILE writes one")
	}
	b, err := bundle.Open(path)
	if err != nil {
		return err
	}
	var r *commit.Reveal
	if f.row == "" {
		r, err = derive.RevealPacket(ctx, b, seed, f.packet)
	} else {
		r, err = derive.RevealRow(ctx, b, seed, name, row, f.groups)
	}
	if errors.Is(err, commit.ErrGroup) {
		return exit.Usagef("--groups: %w", err)
	}
	if errors.Is(err, derive.ErrSeed) {
		return exit.With(err, exit.NotCapture, "give the file that pcapsule seal --commit wrote for this bundle")
	}
	if err != nil {
		return exit.With(err, exit.Other, "pcapsule show and pcapsule sql show the numbers of packets, calls and rows; pcapsule reveal --help lists the groups")
	}
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := whole.CreateDurably(f.output, 0o600, whole.Text(append(data, '\n'))); err != nil {
		return exit.OutputError(err, f.output)
	}
	fmt.Fprintln(e.Out, console.Line(f.output+": "+r.What()))
	return nil
}
