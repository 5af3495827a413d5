package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	shared "github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/internal/version"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/rows"
)

// lookEvery is how often the program checks that somebody wants rows.
const lookEvery = 250 * time.Millisecond

// rowsCommand dissects on a node, beside its recorder.
func rowsCommand(env func(string) (string, bool), errOut io.Writer) *cobra.Command {
	var dir, to string
	var memory, most shared.Size
	var keep time.Duration
	c := &cobra.Command{
		Use:   "rows",
		Short: "Dissect a node's ring while it is recorded, and leave the rows for the hub",
		Long: `Follow the ring of a node and leave the rows of the last minutes in a folder, which
pcapsule-recorder --rows serves to the hub. It works only while the hub asks for
them, needs no rights but to read the ring, and no API. What it may use of the
processor is up to the container.

Exit codes: 0 ended by a signal; 1 other; 2 usage; 6 disk.`,
		Example: `  pcapsule-hub rows --ring /var/lib/pcapsule/ring --to /rows`,
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := fromEnvironment(c.Flags(), env); err != nil {
				return err
			}
			if dir == "" || to == "" {
				return exit.Usagef("--ring and --to: must be folders")
			}
			limitHeap(memory)
			o := exporter.FollowOptions{Keep: keep, Most: int64(most), Temp: to, Share: to, Release: version.Release}
			return sendRows(c.Context(), dir, o, slog.New(slog.NewTextHandler(errOut, nil)))
		},
	}
	fl := c.Flags()
	fl.SortFlags = false
	fl.StringVar(&dir, "ring", "/var/lib/pcapsule/ring", "folder of the ring")
	fl.StringVar(&to, "to", "/rows", "folder for the rows")
	fl.DurationVar(&keep, "keep", exporter.DefaultLiveKeep, "how long rows are kept")
	shared.SizeVar(fl, &most, "max-size", "", 512<<20, 16<<20, shared.Largest, "size of the rows that are kept, about; the folder needs twice as much")
	shared.SizeVar(fl, &memory, "memory", "", shared.Size(exporter.DefaultMemory), minMemory, shared.Largest, "memory for dissecting")
	shared.Between(fl, "keep", &keep, time.Minute, exporter.MaxLiveKeep)
	return c
}

// sendRows dissects whenever rows are wanted, until ctx ends.
func sendRows(ctx context.Context, dir string, o exporter.FollowOptions, log *slog.Logger) error {
	if err := os.MkdirAll(o.Share, 0o700); err != nil {
		return err
	}
	if err := rows.Clear(o.Share); err != nil {
		return fmt.Errorf("removing old rows: %w", err)
	}
	o.OnError = func(err error) { log.Error("dissecting", "error", err) }
	failing := ""
	for ctx.Err() == nil {
		if rows.Wanted(o.Share) {
			err := whileWanted(ctx, dir, o, log)
			if text := fmt.Sprint(err); err != nil && text != failing && ctx.Err() == nil {
				failing = text
				log.Error("dissecting; trying again", "error", err)
			}
		}
		pause(ctx)
	}
	return nil
}

// whileWanted dissects until the rows are no longer wanted.
func whileWanted(ctx context.Context, dir string, o exporter.FollowOptions, log *slog.Logger) (err error) {
	l, err := exporter.Follow(ctx, dir, o)
	if errors.Is(err, ring.ErrNotRing) || errors.Is(err, fs.ErrNotExist) { // the recorder has not begun
		return nil
	}
	if err != nil {
		return err
	}
	log.Info("dissecting", "ring", dir)
	defer func() { err = errors.Join(err, l.Close()) }()
	for rows.Wanted(o.Share) && ctx.Err() == nil {
		pause(ctx)
	}
	log.Info("nobody asks for rows now")
	return nil
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(lookEvery):
	}
}
