package read

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/alerts"
	"github.com/pcapsule/pcapsule/exporter/internal/memory"
)

// alertsPath is where a bundle stores what it uses of logs with alerts.
const alertsPath = "data/inputs/alerts.jsonl"

// Alerts are what other programs said, according to files.
type Alerts struct {
	Claims   *alerts.Claims
	sides    []bundle.SideInput
	warnings []string
}

// AlertsError means that a file is no log of Suricata or Zeek that can be read.
type AlertsError struct{ Err error }

// Error implements error.
func (e *AlertsError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *AlertsError) Unwrap() error { return e.Err }

// LoadAlerts reads logs of Suricata and Zeek, and stores the used part in the bundle. Its error is *InputError, or an error
// of writing.
func LoadAlerts(b *bundle.Builder, paths []string, limit memory.Limit) (*Alerts, error) {
	a := &Alerts{Claims: alerts.New(limit.Scale(alerts.MaxRows), limit.Scale(alerts.MaxBytes))}
	if len(paths) == 0 {
		return a, nil
	}
	paths, err := byContent(paths)
	if err != nil {
		return nil, err
	}
	for _, p := range paths {
		if err := a.Claims.Read(p); err != nil {
			var file *fs.PathError
			if !errors.As(err, &file) {
				err = &AlertsError{err}
			}
			return nil, &InputError{p, err}
		}
	}
	if err := a.Claims.Finish(); err != nil {
		return nil, err
	}
	for _, f := range a.Claims.Files {
		a.sides = append(a.sides, bundle.SideInput{Kind: "alerts", Name: f.Name, SHA256Original: f.SHA256, SizeOriginal: f.Size})
		if f.Warning != "" {
			a.warnings = append(a.warnings, f.Name+": "+f.Warning)
		}
	}
	if a.Claims.Len() == 0 {
		return a, nil
	}
	file, err := b.Create(alertsPath)
	if err != nil {
		return nil, err
	}
	if _, err := a.Claims.WriteTo(file); err != nil {
		return nil, fmt.Errorf("storing the used part of the alerts: %w", err)
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	sum := file.Sum()
	for i := range a.sides {
		a.sides[i].Path, a.sides[i].SHA256, a.sides[i].Size = alertsPath, &sum, file.Size()
	}
	return a, nil
}

// byContent orders files by their hashes, because a limit may leave out what comes last.
func byContent(paths []string) ([]string, error) {
	if len(paths) == 1 {
		return paths, nil
	}
	sums := map[string][]byte{}
	for _, p := range paths {
		f, err := os.Open(p)
		if err != nil {
			return nil, &InputError{p, err}
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return nil, &InputError{p, err}
		}
		sums[p] = h.Sum(nil)
	}
	paths = slices.Clone(paths)
	slices.SortFunc(paths, func(a, b string) int {
		return cmp.Or(bytes.Compare(sums[a], sums[b]), cmp.Compare(filepath.Base(a), filepath.Base(b)))
	})
	return paths, nil
}

// Describe records the files, their use and what was left out of them in the manifest.
func (a *Alerts) Describe(m *bundle.Manifest) {
	m.SideInputs = append(m.SideInputs, a.sides...)
	m.Warnings = append(m.Warnings, a.warnings...)
	for _, f := range a.Claims.Files {
		for kind, n := range f.Counts {
			m.Accounts.AddCounter("alerts", kind, n)
		}
	}
}
