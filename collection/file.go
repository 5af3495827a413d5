// Package collection answers what an auditor asks about a period: which time was recorded, which controls were met in each
// part of it and what changed, who accepted which exception, and which calls are in a sample.
//
// A collection is a small file that names bundles and a period (docs/format/collection.md). What was read of a bundle is
// kept beside it, so that the cost grows with what is new. Verdicts are those of package control. Bundles, the file, its
// log and its summaries are hostile input: what cannot be read is a row with the reason, and is never left out.
package collection

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/seal"
	"github.com/pcapsule/pcapsule/forensics/control"
	"github.com/pcapsule/pcapsule/forensics/finding"
	"github.com/pcapsule/pcapsule/internal/clip"
	"github.com/pcapsule/pcapsule/internal/yamltext"
)

// Limits of a collection.
const (
	maxFile    = 1 << 20 // bytes
	maxDays    = 1100
	maxBundles = 10_000
	maxNodes   = 1000
	maxRoles   = 20
	maxWord    = 200 // bytes of a title, a node or a role
)

const day = 24 * time.Hour

// File is a collection file.
type File struct {
	Version int    `yaml:"version"`
	Title   string `yaml:"title"`
	Period  struct {
		From string `yaml:"from"`
		To   string `yaml:"to"`
	} `yaml:"period"`
	Every      string   `yaml:"every"`
	Bundles    []string `yaml:"bundles"`
	Lake       string   `yaml:"lake"`
	Nodes      []string `yaml:"nodes"`
	Frameworks []string `yaml:"frameworks"`
	Controls   []string `yaml:"controls"`
	Allow      []string `yaml:"allow"`
	Attest     bool     `yaml:"attest"`
	Roles      []string `yaml:"roles"`
	Signers    []string `yaml:"signers"`

	Path   string        `yaml:"-"`
	Text   []byte        `yaml:"-"`
	SHA256 bundle.Digest `yaml:"-"`
	From   time.Time     `yaml:"-"` // first instant of the period
	To     time.Time     `yaml:"-"` // first instant after it
	Keys   []seal.Party  `yaml:"-"` // Signers
}

// FileError is a mistake in a collection file.
type FileError struct {
	Path string
	Err  error
}

// Error describes the mistake.
func (e *FileError) Error() string { return e.Path + ": " + e.Err.Error() }

// Unwrap returns the mistake without its file.
func (e *FileError) Unwrap() error { return e.Err }

// Load reads a collection file. A mistake in it is a *FileError.
func Load(path string) (*File, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading a collection: %w", err)
	}
	defer in.Close()
	text, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading a collection: %w", err)
	}
	f, err := Parse(text)
	if err != nil {
		return nil, &FileError{path, err}
	}
	f.Path = path
	return f, nil
}

// Parse reads the text of a collection file.
func Parse(text []byte) (*File, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("more than %d bytes", maxFile)
	}
	f := &File{Text: text, SHA256: sha256.Sum256(text)}
	if err := yaml.Load(text, f, yaml.WithKnownFields()); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("the file is empty; it begins with version: 1")
		}
		return nil, yamltext.Error(err)
	}
	if f.Version != 1 {
		return nil, fmt.Errorf("version %d is not supported; it must be 1", f.Version)
	}
	if err := f.readPeriod(); err != nil {
		return nil, err
	}
	if len(f.Bundles) == 0 && f.Lake == "" {
		return nil, errors.New("bundles is missing: a list of folders, patterns and addresses of stores")
	}
	for _, list := range []struct {
		name  string
		words []string
		most  int
	}{{"title", []string{f.Title}, 1}, {"nodes", f.Nodes, maxNodes}, {"roles", f.Roles, maxRoles}, {"bundles", f.Bundles, maxBundles}} {
		if len(list.words) > list.most {
			return nil, fmt.Errorf("%s has %d entries, at most %d are allowed", list.name, len(list.words), list.most)
		}
		for i, w := range list.words {
			if list.name != "title" && w == "" || list.name != "bundles" && len(w) > maxWord || !utf8.ValidString(w) {
				return nil, fmt.Errorf("entry %d of %s must be a text of 1 to %d bytes", i+1, list.name, maxWord)
			}
			if list.name != "title" && slices.Contains(list.words[:i], w) {
				return nil, fmt.Errorf("%s has %q twice", list.name, w)
			}
		}
	}
	for _, r := range f.Roles {
		if err := CheckRole(r); err != nil {
			return nil, fmt.Errorf("roles: %w", err)
		}
	}
	for i, text := range f.Signers {
		p, err := seal.ParsePublic("", []byte(text))
		if err != nil {
			return nil, fmt.Errorf("entry %d of signers is no public key (PEM, or a line in OpenSSH format): %w", i+1, err)
		}
		f.Keys = append(f.Keys, p)
	}
	if _, err := finding.ParseAllow(f.Allow); err != nil {
		return nil, err
	}
	return f, control.Check(f.Frameworks, f.Controls)
}

// readPeriod reads the period and its parts.
func (f *File) readPeriod() error {
	var err error
	for _, x := range []struct {
		name, text string
		into       *time.Time
	}{{"from", f.Period.From, &f.From}, {"to", f.Period.To, &f.To}} {
		if *x.into, err = Day(x.text); err != nil {
			return fmt.Errorf("period: %s %w", x.name, err)
		}
	}
	f.To = f.To.Add(day)
	switch {
	case !f.From.Before(f.To):
		return fmt.Errorf("period: from %s is after to %s", f.Period.From, f.Period.To)
	case f.To.Sub(f.From) > maxDays*day:
		return fmt.Errorf("period: %d days, at most %d are allowed", f.To.Sub(f.From)/day, maxDays)
	}
	switch f.Every {
	case "":
		f.Every = "week"
	case "day", "week":
	default:
		return fmt.Errorf("every must be day or week, not %q", f.Every)
	}
	return nil
}

// Day reads a day in UTC.
func Day(text string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil || t.Year() < 1971 || t.Year() > 2261 {
		return t, fmt.Errorf("must be a day such as 2026-10-05, not %q", clip.Text(text, 100))
	}
	return t, nil
}

// CheckRole checks the name of a role, which is a part of the name of a file.
func CheckRole(role string) error {
	if role == "" || len(role) > 40 || strings.Trim(role, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || strings.HasPrefix(role, "-") {
		return fmt.Errorf("%q is not a role: use lower-case letters, digits and -, at most 40", clip.Text(role, 100))
	}
	return nil
}

// Beside is the path of another file of the collection.
func (f *File) Beside(ending string) string {
	return strings.TrimSuffix(f.Path, filepath.Ext(f.Path)) + ending
}

// Name is the title, or the name of the file.
func (f *File) Name() string {
	if f.Title != "" {
		return f.Title
	}
	return strings.TrimSuffix(filepath.Base(f.Path), filepath.Ext(f.Path))
}

// parts are the sub-periods.
func (f *File) parts() (list []span) {
	step := day
	if f.Every == "week" {
		step = 7 * day
	}
	for t := f.From; t.Before(f.To); t = t.Add(step) {
		to := t.Add(step)
		if to.After(f.To) {
			to = f.To
		}
		list = append(list, span{t.UnixNano(), to.UnixNano() - 1})
	}
	return list
}

// span is a range of time in nanoseconds since 1970 UTC, both ends included.
type span struct{ from, to int64 }

func (s span) overlaps(o span) bool { return s.from <= o.to && o.from <= s.to }

func dateOf(ns int64) string { return time.Unix(0, ns).UTC().Format(time.DateOnly) }

// name is the span for people, if its ends are those of days.
func (s span) name() string {
	if from, to := dateOf(s.from), dateOf(s.to); from != to {
		return from + " to " + to
	}
	return dateOf(s.from)
}
