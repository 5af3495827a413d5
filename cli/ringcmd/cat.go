package ringcmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/recorder/pcapng"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/sight"
)

type catFlags struct {
	from, to, output, series, sight string
	last                            time.Duration
}

func (p program) cat() *cobra.Command {
	var f catFlags
	c := &cobra.Command{
		Use:   "cat RING",
		Short: "Write the packets of a time range to one capture",
		Long: `Write the packets of a ring, or of a time range in it, to one PCAPNG file that Wireshark and
tcpdump read. An unfinished segment is read up to its last complete block. A series has one link type,
so one file contains one series, including its parts with a separate --max-age.`,
		Example: p.example(`  PROGRAM ring cat /var/lib/pcapsule/ring --last 10m | wireshark -k -i -
  PROGRAM ring cat /var/lib/pcapsule/ring --from 2026-01-31T14:15:00Z --to 2026-01-31T14:20:00Z -o five-minutes.pcapng`),
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return p.runCat(c, args[0], &f) },
	}
	c.Flags().StringVar(&f.from, "from", "", "only from this time on, "+command.TimeForms)
	c.Flags().StringVar(&f.to, "to", "", "only up to this time, in the same forms")
	c.Flags().DurationVar(&f.last, "last", 0, "length of time before now, or before the last packet if no recorder is running")
	command.Between(c.Flags(), "last", &f.last, time.Millisecond, command.Longest)
	c.Flags().StringVarP(&f.output, "output", "o", "-", "file to write; - is standard output")
	c.Flags().StringVar(&f.sight, "sight", string(sight.Once), "packets between two sockets of the recorded machine: once, when they leave, or both, also when they arrive")
	c.Flags().StringVar(&f.series, "series", "", "series to read, if there are several")
	return c
}

// window returns the requested time range in ns since 1970 UTC.
func (f *catFlags) window(r *ring.Ring, of func(series string) bool) (from, to int64, err error) {
	times, err := command.ParseTimes(f.from, f.to)
	if err != nil {
		return 0, 0, err
	}
	if f.last > 0 && times.Given() {
		return 0, 0, exit.Usagef("--last excludes --from and --to: give one")
	}
	first, end := int64(math.MaxInt64), int64(0)
	for _, s := range r.Segments {
		if s.Seal != nil && of(s.ID.Series) {
			first, end = min(first, int64(s.Seal.First)), max(end, int64(s.Seal.Last))
		}
	}
	if r.Writing {
		end = time.Now().UnixNano()
	}
	if f.last > 0 {
		return end - int64(f.last), math.MaxInt64, nil
	}
	if from, to, err = times.In(first, end); err != nil {
		return 0, 0, err
	}
	if times.From.Missing() {
		from = math.MinInt64
	}
	if times.To.Missing() {
		to = math.MaxInt64
	}
	return from, to, nil
}

func (p program) runCat(c *cobra.Command, dir string, f *catFlags) error {
	ctx, out := c.Context(), c.OutOrStdout()
	if f.output == "-" && console.Terminal(out) {
		return exit.Usagef("refusing to write a capture to a terminal: give -o FILE.pcapng or redirect it")
	}
	if f.output != "-" {
		if err := exit.NewOutput(f.output); err != nil {
			return err
		}
	}
	sights, err := sight.Parse(f.sight, sight.Once)
	if err != nil {
		return exit.Usagef("--%v", err)
	}
	r, err := ring.Open(dir)
	if err != nil {
		return err
	}
	of := func(series string) bool { return series == f.series }
	if f.series == "" {
		of = func(series string) bool { return ring.BaseSeries(series) == f.series }
		if f.series, err = ring.OnlyBase(r.Segments); err != nil {
			return exit.With(fmt.Errorf("%s: %w", dir, err), exit.Usage, p.name+" ring ls lists the segments; give --series")
		}
	}
	from, to, err := f.window(r, of)
	if err != nil {
		return err
	}
	var list []ring.Segment
	for _, s := range r.Segments {
		if of(s.ID.Series) {
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		return exit.Usagef("--series %q: %s has no such segment", f.series, dir)
	}
	var keep func(*pcapng.Packet, *pcapng.Interface) bool
	again := int64(0)
	if sights == sight.Once {
		keep = arrivals(&again)
	}
	got, err := p.copy(ctx, out, f.output, r, list, from, to, keep)
	if err != nil {
		return outputError(err, f.output)
	}
	for _, name := range got.Missing {
		warn(c, "%s no longer exists", name)
	}
	if got.Damage > 0 {
		warn(c, "%s in sealed segments cannot be read; %s ring verify lists them", plural.Count(got.Damage, "place", "places"), p.name)
	}
	for _, h := range r.Holes {
		if int64(h.To) >= from && int64(h.From) <= to && (h.Series == "" || of(h.Series)) {
			warn(c, "coverage gap: %s", GapText(h))
		}
	}
	if again > 0 {
		warn(c, "%s between two sockets of the recorded machine left out; --sight both keeps them", plural.Count(again, "duplicate", "duplicates"))
	}
	report := out
	if f.output == "-" {
		report = c.ErrOrStderr()
	}
	fmt.Fprintf(report, "%s: %s, %s, from %s\n", f.output, plural.Count(got.Packets, "packet", "packets"), console.ByteSize(got.Bytes), plural.Count(int64(got.Segments), "segment", "segments"))
	return nil
}

// arrivals leaves out and counts packets that arrive at a socket after they left another.
func arrivals(again *int64) func(*pcapng.Packet, *pcapng.Interface) bool {
	const cooked, header = 276, 20
	var f sight.Filter
	return func(p *pcapng.Packet, _ *pcapng.Interface) bool {
		flags, ok := p.Flags()
		if !ok || p.LinkType != cooked || len(p.Data) < header {
			return true
		}
		if f.Again(p.Data[header:], flags.Direction() == pcapng.DirectionOutbound, p.Time) {
			*again++
			return false
		}
		return true
	}
}

func (p program) copy(ctx context.Context, out io.Writer, output string, r *ring.Ring, list []ring.Segment, from, to int64, keep func(*pcapng.Packet, *pcapng.Interface) bool) (ring.Copied, error) {
	var file *whole.File
	if output != "-" {
		var err error
		if file, err = whole.CreateFile(output); err != nil {
			return ring.Copied{}, err
		}
		defer file.Abort()
		out = file
	}
	buffered := bufio.NewWriter(console.Exact(out))
	w, err := pcapng.NewWriter(buffered, pcapng.Section{Application: p.name + " " + p.release, Comments: []string{fmt.Sprintf("packets of ring %s", r.ID)}}, pcapng.WriterOptions{})
	if err != nil {
		return ring.Copied{}, err
	}
	got, err := ring.Copy(ctx, w, list, from, to, keep)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = buffered.Flush()
	}
	if err == nil && file != nil {
		err = file.Commit()
	}
	return got, err
}

// outputError gives a disk error the exit code Disk.
func outputError(err error, path string) error {
	err = exit.OutputError(err, path)
	var coded *exit.Error
	for _, kind := range []error{syscall.ENOSPC, syscall.EIO, syscall.EDQUOT, syscall.EROFS} {
		if errors.Is(err, kind) && !errors.As(err, &coded) {
			return exit.With(err, exit.Disk, "nothing was left behind; free space and run the same command again")
		}
	}
	return err
}

func warn(c *cobra.Command, format string, args ...any) {
	fmt.Fprintf(c.ErrOrStderr(), "warning: %s\n", console.Lines(fmt.Sprintf(format, args...)))
}
