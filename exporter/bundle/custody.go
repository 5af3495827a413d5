package bundle

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle/internal/disk"
)

// Limits of the custody log.
const (
	maxCustody = 16 << 20 // bytes of the log
	maxEntry   = 64 << 10 // bytes of a line
)

// EventMade is the event of the first entry, and of no other.
const EventMade = "made"

// Events in which a witness of the bundle's ring states what it has seen.
const (
	EventAnchored     = "anchored"     // detail anchor: its countersignature (docs/format/ring.md)
	EventContradicted = "contradicted" // the ring is not the one that it countersigned before; note: why
)

// Entry is one line of custody/log.jsonl: an action on the bundle and who did it.
type Entry struct {
	Seq         int64             `json:"seq"` // from 0
	Time        Time              `json:"time"`
	Event       string            `json:"event"` // made, verified, copied, …: a lower-case word
	Tool        string            `json:"tool,omitempty"`
	User        string            `json:"user,omitempty"`
	Host        string            `json:"host,omitempty"`
	Note        string            `json:"note,omitempty"`
	Details     map[string]string `json:"details,omitempty"`
	TagManifest *Digest           `json:"tagmanifest_sha256,omitempty"`
	Prev        *Digest           `json:"prev,omitempty"` // SHA-256 of the previous line, without its line end; absent in the first
}

// programDetail is the detail of the first entry that has the digest of the program that made the bundle.
const programDetail = "program_sha256"

// Program is the digest of the program that made the bundle, as the first entry of its custody log states it; else nil.
func (r *Report) Program() *Digest {
	var d Digest
	if len(r.Custody) == 0 || d.UnmarshalText([]byte(r.Custody[0].Details[programDetail])) != nil {
		return nil
	}
	return &d
}

// EntryError is an entry that the custody log cannot hold.
type EntryError struct{ What string }

// Error describes the problem of the entry.
func (e *EntryError) Error() string { return e.What }

// encodeEntry makes the line of an entry, line end included.
func encodeEntry(e Entry) ([]byte, error) {
	if !word(e.Event) {
		return nil, &EntryError{fmt.Sprintf("event %q is not one lower-case word", e.Event)}
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("custody entry: %w", err)
	}
	if buf.Len() > maxEntry {
		return nil, &EntryError{fmt.Sprintf("the entry has %d bytes, more than %d", buf.Len(), maxEntry)}
	}
	return buf.Bytes(), nil
}

// chain is a custody log that was read.
type chain struct {
	entries []Entry
	lines   []Digest // SHA-256 of each line, without its line feed
	head    Digest   // of the last line
	size    int64
}

// parseCustody reads a custody log and checks its chain. With an error it returns the entries before it.
func parseCustody(data []byte) (chain, error) {
	c, err := parseChain(data, chain.fitsCustody)
	if err == nil && len(c.entries) == 0 {
		err = errors.New("empty: the entry made is missing")
	}
	return c, err
}

// parseChain reads a log and checks its chain, and each entry with check. With an error it returns the entries before it.
func parseChain(data []byte, check func(c chain, n int64, e *Entry) error) (chain, error) {
	c := chain{size: int64(len(data))}
	for n := int64(0); len(data) > 0; n++ {
		text, rest, ended := bytes.Cut(data, []byte{'\n'})
		switch {
		case !ended:
			return c, fmt.Errorf("line %d: not ended, so not written whole", n+1)
		case len(text) >= maxEntry:
			return c, fmt.Errorf("line %d: %d bytes, must be less than %d", n+1, len(text), maxEntry)
		}
		var e Entry
		if err := cmp.Or(decode(text, &e), UniqueKeys(text)); err != nil {
			return c, fmt.Errorf("line %d: %w", n+1, err)
		}
		if err := cmp.Or(c.fits(n, &e), check(c, n, &e)); err != nil {
			return c, fmt.Errorf("line %d: %w", n+1, err)
		}
		c.entries = append(c.entries, e)
		c.head = sha256.Sum256(text)
		c.lines = append(c.lines, c.head)
		data = rest
	}
	return c, nil
}

// fitsCustody checks what only entries of a custody log have.
func (c chain) fitsCustody(n int64, e *Entry) error {
	switch {
	case (e.Event == EventMade) != (n == 0):
		return fmt.Errorf("event %q: the first entry, and no other, is %s", e.Event, EventMade)
	case n == 0 && e.TagManifest == nil:
		return errors.New("no tagmanifest_sha256")
	}
	return nil
}

// fits checks whether e is valid as entry n after those read so far.
func (c chain) fits(n int64, e *Entry) error {
	switch {
	case e.Seq != n:
		return fmt.Errorf("seq %d instead of %d", e.Seq, n)
	case !word(e.Event):
		return fmt.Errorf("event %q is not a lower-case word", e.Event)
	case n == 0 && e.Prev != nil:
		return errors.New("the first entry has a prev")
	case n > 0 && e.Prev == nil:
		return fmt.Errorf("prev is missing, expected %s", c.head)
	case n > 0 && *e.Prev != c.head:
		return fmt.Errorf("prev %s instead of %s", e.Prev, c.head)
	}
	return nil
}

// Custody reads the custody log and computes its head, the SHA-256 of its last line. Entries
// before the first fault are returned with the error.
func (b *Bundle) Custody() (entries []Entry, head Digest, err error) {
	root, err := os.OpenRoot(b.Dir)
	if err != nil {
		return nil, head, fmt.Errorf("reading custody log: %w", err)
	}
	defer root.Close()
	c, err := readCustody(dirSource{root})
	return c.entries, c.head, err
}

func readCustody(src source) (chain, error) {
	data, err := readAll(src, custodyName, maxCustody)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = &DamagedError{File: custodyName, What: "missing"}
		}
		return chain{}, err
	}
	c, err := parseCustody(data)
	if err != nil {
		err = &DamagedError{File: custodyName, What: err.Error(), Err: err}
	}
	return c, err
}

// ParseCustody returns the entries of a custody log, or a *DamagedError.
func ParseCustody(data []byte) ([]Entry, error) {
	c, err := parseCustody(data)
	if err != nil {
		return nil, &DamagedError{File: custodyName, What: err.Error(), Err: err}
	}
	return c.entries, nil
}

// AppendCustody adds an entry to the custody log, durably, and returns it as written with the
// new head of the log. Seq and Prev are filled in, and Time if it is zero. Opening, querying
// and verifying a bundle never call it. It does not change a damaged log.
func (b *Bundle) AppendCustody(e Entry) (Entry, Digest, error) {
	head, err := b.appendCustody(&e)
	if err != nil {
		return e, head, fmt.Errorf("adding to custody log of %s: %w", b.Dir, err)
	}
	return e, head, nil
}

func (b *Bundle) appendCustody(e *Entry) (head Digest, err error) {
	if e.Event == EventMade {
		return head, &EntryError{fmt.Sprintf("event %s is only for the first entry", EventMade)}
	}
	root, err := os.OpenRoot(b.Dir)
	if err != nil {
		return head, err
	}
	defer root.Close()
	if info, err := (dirSource{root}).stat(custodyName); err != nil {
		return head, err
	} else if !info.Mode().IsRegular() {
		return head, &DamagedError{File: custodyName, What: "not a plain file"}
	}
	f, err := root.OpenFile(custodyName, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return head, err
	}
	defer f.Close()
	return appendTo(f, e, custodyName, parseCustody)
}

// appendTo adds an entry to the log in f, which parse reads. It does not change a damaged log.
func appendTo(f *os.File, e *Entry, name string, parse func([]byte) (chain, error)) (head Digest, err error) {
	if err := disk.Lock(f); err != nil {
		return head, fmt.Errorf("locking: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxCustody+1))
	if err != nil {
		return head, err
	}
	if len(data) > maxCustody {
		return head, fmt.Errorf("the log has more than %d bytes", maxCustody)
	}
	c, err := parse(data)
	if err != nil {
		return head, &DamagedError{File: name, What: err.Error(), Err: err}
	}
	if e.Seq = int64(len(c.entries)); e.Seq > 0 {
		e.Prev = &c.head
	}
	if e.Time == 0 {
		e.Time = Time(time.Now().UnixNano())
	}
	text, err := encodeEntry(*e)
	if err != nil {
		return head, err
	}
	if c.size+int64(len(text)) > maxCustody {
		return head, fmt.Errorf("log of %d bytes is full: the limit is %d", c.size, maxCustody)
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		// Half a line would make the rest of the log unreadable.
		return head, errors.Join(err, f.Truncate(c.size))
	}
	return sha256.Sum256(bytes.TrimSuffix(text, []byte{'\n'})), nil
}

// parseLog reads a log in the form of a custody log that is in no bundle: it has no entry made.
func parseLog(data []byte) (chain, error) {
	return parseChain(data, func(_ chain, _ int64, e *Entry) error {
		if e.Event == EventMade || e.TagManifest != nil {
			return fmt.Errorf("event %q: only the custody log of a bundle has an entry made", e.Event)
		}
		return nil
	})
}

// ReadLog reads a log that is in no bundle, and returns the SHA-256 of each line, of which the last is its head. A file that
// does not exist has no entries. The error of a log whose chain is broken is a *DamagedError.
func ReadLog(path string) ([]Entry, []Digest, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading log: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxCustody+1))
	if err == nil && len(data) > maxCustody {
		err = fmt.Errorf("%s has more than %d bytes", path, maxCustody)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading log: %w", err)
	}
	c, err := parseLog(data)
	if err != nil {
		return nil, nil, &DamagedError{File: path, What: err.Error(), Err: err}
	}
	return c.entries, c.lines, nil
}

// AppendLog adds an entry to a log that is in no bundle, durably, as AppendCustody does. It creates the file.
func AppendLog(path string, e Entry) (Entry, Digest, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return e, Digest{}, fmt.Errorf("adding to log: %w", err)
	}
	defer f.Close()
	head, err := appendTo(f, &e, path, parseLog)
	if err != nil {
		err = fmt.Errorf("adding to log %s: %w", path, err)
	}
	return e, head, err
}
