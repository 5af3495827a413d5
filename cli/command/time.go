package command

import (
	"errors"
	"time"

	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/internal/when"
)

// Descriptions of the forms of a time for flags.
const (
	TimeForms = "such as 2026-01-31T14:15:00Z, 14:15:00, or 5m (before the end)"
	LiveForms = "such as 2026-01-31T14:15:00Z, 14:15:00, or 5m (before now)"
	DayForms  = "such as 2026-01-31T14:15:00Z, or 14:15:00 on the day of the first packet"
)

// TimeRange is the values of the flags --from and --to.
type TimeRange struct {
	From, To         when.Time
	fromText, toText string
}

// ParseTimes reads the values of the flags --from and --to. Each may be empty.
func ParseTimes(from, to string) (TimeRange, error) {
	return parseTimes(from, to, when.Forms)
}

// ParseDayTimes is ParseTimes for a recording whose end is not known.
func ParseDayTimes(from, to string) (TimeRange, error) { return parseTimes(from, to, when.DayForms) }

func parseTimes(from, to, forms string) (r TimeRange, err error) {
	r.fromText, r.toText = from, to
	if r.From, err = parseTime("from", from, forms); err == nil {
		r.To, err = parseTime("to", to, forms)
	}
	return r, err
}

func parseTime(flag, s, forms string) (when.Time, error) {
	t, err := when.Parse(s)
	if errors.Is(err, when.ErrForm) {
		return t, exit.Usagef("--%s: must be %s, not %q", flag, forms, s)
	}
	if err == nil && !t.Missing() && t == when.Epoch {
		return t, exit.Usagef("--%s: must be a time after 1970-01-01T00:00:00Z, not %q", flag, s)
	}
	if err != nil {
		return t, exit.Usagef("--%s: %v", flag, err)
	}
	return t, nil
}

// Given reports whether one of the flags was given.
func (r *TimeRange) Given() bool { return !r.From.Missing() || !r.To.Missing() }

// In returns the range in ns since 1970 UTC, in a recording that lasts from first to last; 0 is no
// limit.
func (r *TimeRange) In(first, last int64) (from, to int64, err error) {
	return r.ordered(r.From.In(first, last), r.To.In(first, last))
}

// Since returns the range in ns since 1970 UTC, in a recording that begins at first and whose end is
// not known; 0 is no limit.
func (r *TimeRange) Since(first int64) (from, to int64, err error) {
	from, ok := r.From.From(first, 0)
	if !ok {
		return 0, 0, noEnd("--from " + r.fromText)
	}
	if to, ok = r.To.From(first, max(from, first)); !ok {
		return 0, 0, noEnd("--to " + r.toText)
	}
	return r.ordered(from, to)
}

func noEnd(given string) error {
	return exit.Usagef("%s: counts back from the end, which is known only when the capture has been read: give a time such as 14:15:00", given)
}

// Before returns the range in ns since 1970 UTC, in a recording that continues at now; 0 is no limit. A time of
// day is the last one before now, and for the end the first one after the beginning.
func (r *TimeRange) Before(now int64) (from, to int64, err error) {
	const day = int64(24 * time.Hour)
	from = r.From.In(now-day, now)
	to, ok := r.To.From(from, from)
	if from == 0 || !ok {
		to = r.To.In(now-day, now)
	}
	return r.ordered(from, to)
}

func (r *TimeRange) ordered(from, to int64) (int64, int64, error) {
	if to != 0 && from > to {
		return 0, 0, exit.Usagef("--from %s is after --to %s", r.fromText, r.toText)
	}
	return from, to, nil
}
