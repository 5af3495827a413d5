// Package collect gets one node's part of a snapshot onto the hub's disk and makes its bundle.
//
// Everything it knows is in a folder, so a hub that was killed continues:
//
//	job.json                  the nodes whose parts a Job bundles, by index
//	nodes/NODE/pin.json       what the node listed
//	nodes/NODE/held/          its files, complete or in held/.part/
//	nodes/NODE/received.json  the state of a part that arrived
//	nodes/NODE/anchor.json    what the witness stated about the node's ring
//	nodes/NODE/missing.json   why the node's part, or some of it, did not arrive
//	nodes/NODE/failed.json    why no bundle was made of the files, which stay
//	bundles/NODE.pcapsule     the finished bundle; nodes/NODE is removed then
//
// A part that did not arrive, or could not be bundled, gets a bundle too, which states the gap.
package collect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/internal/whole"
	"github.com/pcapsule/pcapsule/recorder/pins"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// silence is how long a node whose turns end may bring nothing: as long as a connection (transfer.Fetcher.Idle).
const silence = 30 * time.Second

// slowest is the longest pause between attempts to reach a node, in those of Collector.Retry.
const slowest = 8

const (
	pinName      = "pin.json"
	heldName     = "held"
	receivedName = "received.json"
	missingName  = "missing.json"
	failedName   = "failed.json"
	extension    = ".pcapsule"
)

// Reasons why a part is missing, as in table coverage.
const (
	NotScheduled = "not_scheduled" // no recorder runs there
	Gone         = "missing"       // the recorder could not be reached, or did not have it
)

// MissingError is the reason why a node cannot be reached.
type MissingError struct {
	Reason, Text string
	Final        bool // waiting does not help
}

func (e *MissingError) Error() string { return e.Text }

// Part is one node's part of a snapshot.
type Part struct {
	Dir      string // of the snapshot
	Pin      string // name of the pin on the node
	Node     string
	From, To ring.Time
	Patience time.Duration // how long to try without success
	Turns    *Turns        // of the snapshot's parts
}

func (p Part) node() string { return filepath.Join(p.Dir, "nodes", p.Node) }

// Bundle is the path of the finished bundle.
func (p Part) Bundle() string { return filepath.Join(p.Dir, "bundles", BundleName(p.Node)) }

// BundleName is the name of the bundle of a node.
func BundleName(node string) string { return node + extension }

// Counts are the numbers of a bundle.
type Counts struct{ Packets, Calls int64 }

// Collector collects parts.
type Collector struct {
	// Find returns the recorder of a node, or *MissingError.
	Find func(ctx context.Context, node string) (*pins.Client, error)
	// Make makes the bundle of a pinned folder; nothing is left behind if it fails.
	Make func(ctx context.Context, from, to string, window [2]ring.Time) error
	// Count reads the numbers of a finished bundle.
	Count func(path string) (Counts, error)

	// Witness countersigns the rings; nil: nobody does. Stamp adds its statement to the custody log of a finished
	// bundle, unless the log has it; nil: it is only compared with later parts.
	Witness *Witness
	Stamp   func(bundle string, s Seen) error

	Hub   string        // name and release, for stated gaps
	Retry time.Duration // between attempts, at first
	Log   *slog.Logger
}

// Pin pins a part on its node before its files are received, because retention does not wait. Receive tries again what
// fails here.
func (c *Collector) Pin(ctx context.Context, p Part) error {
	var n resource.Node
	if done, err := c.finished(p, &n); done || err != nil {
		return err
	}
	client, err := c.Find(ctx, p.Node)
	if err == nil {
		_, err = client.Make(ctx, p.Pin, p.From, p.To)
	}
	return err
}

// Receive gets the files of a part. It returns the part's state: resource.Received, or resource.Missing if the node
// could not be reached within the patience of the snapshot; some files may then have been received. report is called
// with intermediate states. An error is that of the hub's own disk or of ctx.
func (c *Collector) Receive(ctx context.Context, p Part, report func(resource.Node)) (resource.Node, error) {
	n := resource.Node{Name: p.Node, State: resource.Waiting}
	if done, err := c.finished(p, &n); done || err != nil {
		return n, err
	}
	if err := os.MkdirAll(filepath.Join(p.node(), heldName), 0o700); err != nil {
		return n, err
	}
	var contact time.Time
	retry := max(c.Retry, time.Millisecond)
	for tries, turns, pause := 0, 0, retry; ; tries++ {
		had, asked := n.Received, time.Now()
		ended, err := p.Turns.do(ctx, turns, func(ctx context.Context) error {
			if tries == 0 {
				contact = time.Now()
			} else { // waiting for a turn needs no patience
				contact = contact.Add(time.Since(asked))
			}
			return c.attempt(ctx, p, &n, report)
		})
		if n.Received > had {
			contact, pause = time.Now(), retry
		}
		if turns++; ended && time.Since(contact) < max(p.Patience, silence) {
			continue
		}
		if ended {
			err = fmt.Errorf("the node sent nothing for %s", time.Since(contact).Round(time.Second))
		}
		tired := time.Since(contact) >= p.Patience
		if ctx.Err() != nil {
			return n, context.Cause(ctx)
		}
		if done, err := c.outcome(p, &n, err, tries > 0, tired); done || err != nil {
			return n, err
		}
		c.Log.Warn("a node's part has not arrived; trying again", "node", p.Node, "pin", p.Pin, "error", err)
		n.Message = err.Error()
		report(n)
		select {
		case <-ctx.Done():
			return n, context.Cause(ctx)
		case <-time.After(min(pause/2+rand.N(pause), p.Patience)): // not all at once
			pause = min(2*pause, slowest*retry)
		}
	}
}

// outcome stores the state of a part if no further attempt is needed, or none helps. again: it was not the first one.
func (c *Collector) outcome(p Part, n *resource.Node, err error, again, tired bool) (done bool, _ error) {
	var altered transfer.AlteredErrors
	switch {
	case err == nil:
		s, err := c.witness(p)
		if err != nil {
			return false, err
		}
		if n.State = resource.Received; s.Problem != "" {
			n.Message = "the ring is not the one that the hub saw before: " + s.Problem
		}
		return true, c.keep(p, receivedName, *n)
	case errors.As(err, &altered) && again:
		// The rest is there. The bundle reports each segment that is missing.
		n.State, n.Reason, n.Message = resource.Missing, Gone, err.Error()
	case IsDisk(err):
		return false, err
	case tired || isFinal(err):
		n.State, n.Reason, n.Message = resource.Missing, reasonOf(err), err.Error()
	default:
		return false, nil
	}
	return true, c.keep(p, missingName, *n)
}

// IsDisk reports whether an error is that of the hub's own files. Waiting for the node does not help then.
func IsDisk(err error) bool {
	var path *fs.PathError
	var link *os.LinkError // such as of a rename
	return errors.As(err, &path) || errors.As(err, &link)
}

func reasonOf(err error) string {
	var missing *MissingError
	if errors.As(err, &missing) {
		return missing.Reason
	}
	return Gone
}

func isFinal(err error) bool {
	var missing *MissingError
	return errors.As(err, &missing) && missing.Final
}

// finished fills in the state of a part that needs nothing else from its node.
func (c *Collector) finished(p Part, n *resource.Node) (bool, error) {
	for _, name := range []string{failedName, missingName, receivedName} {
		text, err := os.ReadFile(filepath.Join(p.node(), name))
		if err == nil {
			return true, json.Unmarshal(text, n)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	there, err := p.bundled()
	if there {
		n.State = resource.Received
	}
	return there, err
}

// keep stores the state of a part, so that a restarted hub does not need the node again.
func (c *Collector) keep(p Part, name string, n resource.Node) error {
	text, err := json.Marshal(n)
	if err != nil {
		return err
	}
	err = whole.CreateDurably(filepath.Join(p.node(), name), 0o600, whole.Text(text))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// attempt pins the window on the node and receives the missing files.
func (c *Collector) attempt(ctx context.Context, p Part, n *resource.Node, report func(resource.Node)) error {
	client, err := c.Find(ctx, p.Node)
	if err != nil {
		return err
	}
	pin, err := client.Make(ctx, p.Pin, p.From, p.To)
	if err != nil {
		return err
	}
	if err := c.begin(p, pin); err != nil {
		return err
	}
	n.State, n.Segments, n.Bytes, n.Received = resource.Receiving, int64(pin.Segments), transfer.Total(pin.Files), 0
	n.Message = strings.Join(pin.Warnings, "; ")
	report(*n)
	f := transfer.Fetcher{Tries: 2, Pause: c.Retry, Progress: func(k int64) {
		n.Received += k
		report(*n)
	}}
	return f.Fetch(ctx, client.Files(p.Pin), pin.Files, p.Held())
}

// Held is the folder of the received files.
func (p Part) Held() string { return filepath.Join(p.node(), heldName) }

// begin stores the listing. If the node has lost the pin and made another, files that
// differ are removed; segments that only the earlier one had stay.
func (c *Collector) begin(p Part, pin *pins.Pin) error {
	// Seals and side files first: they show which segments exist, even if these are never received.
	slices.SortStableFunc(pin.Files, func(a, b transfer.File) int { return isSegment(a.Name) - isSegment(b.Name) })
	path := filepath.Join(p.node(), pinName)
	var old pins.Pin
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &old)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, f := range old.Files {
		now, there := transfer.Find(pin.Files, f.Name)
		if pin.Ring == old.Ring && (now == f || !there) {
			continue
		}
		if err := os.Remove(filepath.Join(p.Held(), filepath.FromSlash(f.Name))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if text, err = json.Marshal(pin); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return whole.CreateDurably(path, 0o600, whole.Text(text))
}

func isSegment(name string) int {
	if strings.HasSuffix(name, ".pcapng") {
		return 1
	}
	return 0
}
