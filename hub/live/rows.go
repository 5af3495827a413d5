package live

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/pcapsule/pcapsule/recorder/pins"
	"github.com/pcapsule/pcapsule/recorder/rows"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// rowsCopy is the copy of the rows that a node makes.
type rowsCopy struct {
	dir, rel string
	run      string
	no, at   int64           // of the newest cut here; at by the node's clock
	names    map[string]bool // of its sets
}

// pollRows gets the newest cut. It returns until when its rows are, by the hub's clock.
func (n *node) pollRows(ctx context.Context, from *pins.Client, began time.Time, most int64) (upTo time.Time, err error) {
	list, err := from.Rows(ctx, n.rows.run, n.rows.no)
	if err != nil {
		return upTo, err
	}
	c := list.Cut
	if c.Run != n.rows.run {
		if err := n.renewRows(c.Run); err != nil {
			return upTo, err
		}
	}
	if c.No != n.rows.no {
		if err := n.rows.update(ctx, from, c, most); err != nil {
			return upTo, err
		}
	}
	age := max(time.Duration(int64(list.Now)-n.rows.at), 0)
	return began.Add(-min(age, n.f.o.Keep)), nil
}

// renewRows begins a copy of another run, or the first.
func (n *node) renewRows(run string) error {
	old := n.rows.dir
	dir, rel, err := n.folder()
	if err != nil {
		return err
	}
	n.rows = rowsCopy{dir: dir, rel: rel, run: run}
	if old == "" {
		return nil
	}
	return os.RemoveAll(old)
}

// update gets the sets of a cut that are not here.
func (r *rowsCopy) update(ctx context.Context, from *pins.Client, c *rows.Cut, most int64) error {
	var err error
	if c.Files, err = fitting(c.Files, most); err != nil {
		return err
	}
	// Another poll tries again, with the cut that is then the newest.
	f := transfer.Fetcher{Tries: 1, NoSync: true}
	if err := f.Fetch(ctx, from.RowsFiles(), c.Files, r.dir); err != nil {
		return fmt.Errorf("getting rows: %w", err)
	}
	if err := rows.Write(r.dir, c); err != nil {
		return err
	}
	keep, names := map[string]bool{}, map[string]bool{}
	for name := range r.names { // a reader may be at the cut before
		keep[name] = true
	}
	for _, f := range c.Files {
		keep[f.Name], names[f.Name] = true, true
	}
	r.no, r.at, r.names = c.No, c.At, names
	return rows.Keep(r.dir, keep)
}

// fitting leaves out the oldest sets if there are more bytes than a copy may have.
func fitting(list []transfer.File, most int64) ([]transfer.File, error) {
	total := int64(0)
	for i, f := range list {
		if f.Size > most-total {
			if i == 0 {
				return nil, fmt.Errorf("%s has %d bytes; a copy may have %d", f.Name, f.Size, most)
			}
			return list[:i], nil
		}
		total += f.Size
	}
	return list, nil
}
