// Package when reads times as people write them. Every flag and input with a time uses it, so that
// a time that one command prints is accepted by all others.
package when

import (
	"errors"
	"fmt"
	"time"
)

// Layouts are the forms of a time with its date, for time.Parse.
var Layouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"}

// dayLayouts are those of a time of day.
var dayLayouts = []string{"15:04:05.999999999", "15:04"}

// Forms are the forms of a time for an error, DayForms those without a length.
const (
	Forms    = DayForms + ", or a length such as 15m before the end of the recording"
	DayForms = "a time such as 2026-01-31T14:15:00Z or 14:15:00"
)

const day = 24 * int64(time.Hour)

// ErrForm reports a text in none of the forms of Parse.
var ErrForm = errors.New("not a time")

type kind uint8

const (
	missing   kind = iota
	instant        // nanoseconds since 1970 UTC
	ofDay          // nanoseconds since midnight UTC
	beforeEnd      // nanoseconds before the end of the recording
)

// Time is a time that may depend on a recording. The zero value is no time.
type Time struct {
	kind kind
	ns   int64
}

// Epoch is 1970-01-01T00:00:00Z, which programs use for no time.
var Epoch = Time{kind: instant}

// Parse reads a time:
//   - RFC 3339, also without its zone, which is UTC then, and with a blank for the T,
//   - a time of day such as 09:24:50.5,
//   - a length such as 15m, which counts back from the end of the recording.
//
// It returns the zero Time for an empty text, and ErrForm for a text in another form.
func Parse(text string) (Time, error) {
	if text == "" {
		return Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return Time{beforeEnd, int64(d)}, nil
	}
	for _, l := range Layouts {
		t, err := time.Parse(l, text)
		if err != nil {
			continue
		}
		// Times outside the range of 64-bit nanoseconds would wrap around, and so would the length
		// of a window that begins before 1970.
		ns := t.UnixNano()
		if ns < 0 || !time.Unix(0, ns).Equal(t) {
			return Time{}, fmt.Errorf("%q is outside 1970-01-01 to 2262-04-11, the times that packets have", text)
		}
		return Time{instant, ns}, nil
	}
	for _, l := range dayLayouts {
		if t, err := time.Parse(l, text); err == nil {
			return Time{ofDay, int64(t.Sub(t.Truncate(24 * time.Hour)))}, nil
		}
	}
	return Time{}, ErrForm
}

// Missing reports whether t is the zero Time.
func (t Time) Missing() bool { return t.kind == missing }

// In returns t, in nanoseconds since 1970 UTC, in a recording that lasts from first to last. A
// time of day is the last one in the recording, or else that of its last day.
func (t Time) In(first, last int64) int64 {
	switch t.kind {
	case beforeEnd:
		return max(last-t.ns, 0)
	case ofDay:
		at := last - last%day + t.ns
		if at > last && at-day >= first {
			at -= day
		}
		return at
	}
	return t.ns
}

// From returns t, in nanoseconds since 1970 UTC, if only the beginning of the recording is known. A
// time of day is that of the first day, and that of the next day if it would be before notBefore.
// It returns false for a length, because it counts back from the end.
func (t Time) From(first, notBefore int64) (ns int64, ok bool) {
	switch t.kind {
	case beforeEnd:
		return 0, false
	case ofDay:
		at := first - first%day + t.ns
		if at < notBefore {
			at += day
		}
		return at, true
	}
	return t.ns, true
}
