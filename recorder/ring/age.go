package ring

import (
	"slices"
	"strings"
	"time"
)

// AgedSeries returns the name of a series with its own retention time, which overrides the
// ring's. The age is part of the name, so that a later recorder applies it too.
func AgedSeries(base string, age time.Duration) string {
	text := age.Round(time.Second).String()
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return base + "_" + text
}

// SeriesAge returns the age in a series' name, 0 if it has none.
func SeriesAge(series string) time.Duration {
	_, text, ok := strings.Cut(series, "_")
	if !ok {
		return 0
	}
	age, err := time.ParseDuration(text)
	if err != nil || age < time.Second || AgedSeries("", age) != "_"+text {
		return 0
	}
	return age
}

// BaseSeries returns the name of a series without its age.
func BaseSeries(series string) string {
	if SeriesAge(series) > 0 {
		series, _, _ = strings.Cut(series, "_")
	}
	return series
}

// OnlyBase is OnlySeries for base names: series that differ only in their age count as
// one.
func OnlyBase(list []Segment) (string, error) {
	base := make([]Segment, len(list))
	for i, s := range list {
		base[i].ID.Series = BaseSeries(s.ID.Series)
	}
	return OnlySeries(base)
}

// maxAge returns the series' own age, or that of the ring.
func (w *Writer) maxAge(series string) time.Duration {
	if age := SeriesAge(series); age > 0 {
		return age
	}
	return w.opt.MaxAge
}

// aged reports whether there is a segment of a series with its own age.
func (w *Writer) aged() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.live, func(l liveSegment) bool { return SeriesAge(l.id.Series) > 0 })
}
