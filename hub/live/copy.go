package live

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/hub/offer"
	"github.com/pcapsule/pcapsule/recorder/pins"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

const (
	overlap   = time.Minute // of two lists: a file may be renamed after its last change
	pollMost  = 30 * time.Second
	pollBytes = 64 << 20 // of segments, in one poll
	sealsMost = 1 << 20  // bytes of seals that a copy begins with
	maxFiles  = 20_000
	maxLost   = 100
)

// ringCopy is the copy of a ring.
type ringCopy struct {
	dir, rel string
	ring     string
	at       ring.Time // of the last list
	files    map[string]*file
	lost     []offer.LiveGap // since the last poll
}

// file is a file of the ring.
type file struct {
	pins.GrowingFile
	id      ring.ID
	segment bool
	settled int64 // its size in the previous list; side files about these bytes were written since then
	have    int64 // bytes of these that were read
	gone    bool  // it was removed here, or there
	whole   bool  // a segment with its name
}

// since is the time from which files are listed.
func (c *ringCopy) since(keep time.Duration) ring.Time {
	if c.at == 0 {
		return ring.Time(time.Now().Add(-keep).UnixNano())
	}
	return c.at - ring.Time(overlap)
}

// update gets what a list has and the copy lacks.
func (c *ringCopy) update(ctx context.Context, from *pins.Client, g *pins.Growing, most int64) (whole bool, err error) {
	first := c.at == 0
	if err := c.learn(g); err != nil {
		return false, err
	}
	if first {
		c.chooseNewest(most)
	}
	for _, f := range c.files {
		if f.Size > most && f.Name != pins.SealsFile && !f.gone {
			return false, fmt.Errorf("%s has %d bytes; a copy may have %d", f.Name, f.Size, most)
		}
	}
	c.at = g.Now
	if err := c.sides(ctx, from); err != nil {
		return false, err
	}
	if whole, err = c.segments(ctx, from); err != nil {
		return false, err
	}
	for _, f := range c.files {
		f.settled = f.Size
	}
	return whole, c.retire(most)
}

// learn takes over a list. Names and sizes come from another machine.
func (c *ringCopy) learn(g *pins.Growing) error {
	listed := make(map[string]bool, len(g.Files))
	for _, x := range g.Files {
		listed[x.Name] = true
		id, kind, hidden, ok := ring.ParseName(x.Name)
		if !ok && x.Name != pins.SealsFile || hidden || strings.ContainsAny(x.Name, "/\\\x00") || x.Size < 0 {
			return fmt.Errorf("the node lists %.120q with %d bytes, which is not a file of a ring", x.Name, x.Size)
		}
		f := c.files[x.Name]
		if f == nil {
			if len(c.files) >= maxFiles {
				return fmt.Errorf("the node lists more than %d files", maxFiles)
			}
			f = &file{id: id, segment: kind == "pcapng"}
			c.files[x.Name] = f
		}
		if f.GrowingFile = x; x.Size < f.have { // a recorder that restarts cuts off a torn end
			if err := os.Truncate(c.path(f), x.Size); err != nil {
				return err
			}
			f.have, f.settled = x.Size, x.Size
		}
	}
	// What is neither listed nor here is forgotten.
	for name, f := range c.files {
		if !listed[name] && f.Changed < c.at-2*ring.Time(overlap) && (f.gone || f.have == 0 && !f.Open) {
			delete(c.files, name)
		}
	}
	return nil
}

// inOrder lists the segments by series and number.
func (c *ringCopy) inOrder() (list []*file) {
	for _, f := range c.files {
		if f.segment && !f.gone {
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(a, b *file) int {
		return cmp.Or(cmp.Compare(a.id.Series, b.id.Series), cmp.Compare(a.id.Sequence, b.id.Sequence))
	})
	return list
}

// chooseNewest leaves out old segments if there are more than fit.
func (c *ringCopy) chooseNewest(most int64) {
	list := c.inOrder()
	slices.SortStableFunc(list, func(a, b *file) int { return cmp.Compare(b.Changed, a.Changed) })
	total := int64(0)
	for i, f := range list {
		if total += f.Size; i > 0 && total > most*3/4 {
			f.gone = true
		}
	}
}

// sides gets side files and seals, before the packets that they are about.
func (c *ringCopy) sides(ctx context.Context, from *pins.Client) error {
	for _, f := range c.files {
		switch segment := c.files[f.id.Segment()]; {
		case f.segment || f.gone:
			continue
		case f.Name == pins.SealsFile:
			if f.have == 0 {
				if err := c.beginSeals(ctx, from, f); err != nil {
					return err
				}
			}
		case segment == nil || segment.gone:
			continue
		}
		if _, err := c.get(ctx, from, f, f.Size); err != nil {
			return err
		}
	}
	return nil
}

// beginSeals gets the first record, which names the ring, and the newest ones.
func (c *ringCopy) beginSeals(ctx context.Context, from *pins.Client, f *file) error {
	if f.Size <= sealsMost {
		return nil
	}
	var first, rest bytes.Buffer
	if _, err := from.Grown(ctx, f.Name, 0, sealsMost, &first); err != nil {
		return err
	}
	at := f.Size - sealsMost
	if _, err := from.Grown(ctx, f.Name, at, f.Size, &rest); err != nil {
		return err
	}
	line := bytes.IndexByte(first.Bytes(), '\n') + 1
	text := rest.Bytes()
	skipped := bytes.IndexByte(text, '\n') + 1
	f.have = at + int64(len(text))
	return os.WriteFile(filepath.Join(c.dir, f.Name), append(first.Bytes()[:line:line], text[skipped:]...), 0o600)
}

// segments gets packets. A segment begins after the one before it is whole.
func (c *ringCopy) segments(ctx context.Context, from *pins.Client) (whole bool, err error) {
	waits := "" // series with an incomplete segment
	whole = true
	left := int64(pollBytes)
	list := c.inOrder()
	for i, f := range list {
		if f.whole || f.id.Series == waits {
			whole = whole && f.whole
			continue
		}
		to := min(f.settled, f.have+left)
		n, err := c.get(ctx, from, f, to)
		if left -= n; err != nil {
			return false, err
		}
		whole = whole && f.have >= f.settled
		last := i+1 == len(list) || list[i+1].id.Series != f.id.Series
		switch {
		case f.gone:
			continue
		case f.have < f.Size || f.Open && last:
			waits = f.id.Series
			continue
		case f.Open: // a crash left it
			continue
		}
		if err := os.Rename(c.path(f), filepath.Join(c.dir, f.Name)); err != nil && !(errors.Is(err, fs.ErrNotExist) && f.Size == 0) {
			return false, err
		}
		f.whole = true
	}
	return whole, nil
}

// path is the path of a file.
func (c *ringCopy) path(f *file) string {
	if f.segment && !f.whole {
		return filepath.Join(c.dir, "."+f.Name)
	}
	return filepath.Join(c.dir, f.Name)
}

// get gets the bytes of a file up to a position. It returns how many it received, also with an error.
func (c *ringCopy) get(ctx context.Context, from *pins.Client, f *file, to int64) (n int64, err error) {
	if f.have >= to {
		return 0, nil
	}
	out, err := os.OpenFile(c.path(f), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for f.have < to {
		k, err := from.Grown(ctx, f.Name, f.have, to, out)
		n, f.have = n+k, f.have+k
		var status *transfer.StatusError
		switch {
		case errors.As(err, &status) && status.Code == http.StatusNotFound:
			c.missed(f)
			return n, nil
		case err != nil:
			return n, fmt.Errorf("getting %s: %w", f.Name, err)
		case k == 0:
			return n, fmt.Errorf("getting %s: it has %d bytes, %d were listed", f.Name, f.have, f.Size)
		}
	}
	return n, nil
}

// missed records that a file was removed before all of it was copied.
func (c *ringCopy) missed(f *file) {
	f.gone = true
	if f.segment {
		c.lost = append(c.lost, offer.LiveGap{From: int64(f.Changed) - int64(time.Second), To: int64(f.Changed), Reason: "retention", Detail: f.Name + " was removed by retention before the hub had copied it"})
	}
}

// retire removes the oldest segments if the copy is too large, but not the newest of a series.
func (c *ringCopy) retire(most int64) error {
	total := int64(0)
	for _, f := range c.files {
		if !f.gone {
			total += f.have
		}
	}
	list := c.inOrder()
	var old []*file
	for i, f := range list {
		if f.whole && i+1 < len(list) && list[i+1].id.Series == f.id.Series {
			old = append(old, f)
		}
	}
	slices.SortStableFunc(old, func(a, b *file) int { return cmp.Compare(a.Changed, b.Changed) })
	for _, f := range old {
		if total <= most {
			return nil
		}
		for _, x := range c.files {
			if x.id != f.id || x.gone || x.Name == pins.SealsFile {
				continue
			}
			if err := os.Remove(c.path(x)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			total -= x.have
			x.gone = true
		}
	}
	return nil
}
