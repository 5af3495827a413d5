package ring

import (
	"slices"
	"strings"
	"time"
)

// AgedSeries is the name of a series whose segments are kept for so long, whatever the
// rest of the ring is: the age is part of the name, so that no later recorder forgets it.
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

// SeriesAge reads the age that a series is named for, 0 where it is named for none.
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

// BaseSeries is the name of a series without the age that it is named for.
func BaseSeries(series string) string {
	if SeriesAge(series) > 0 {
		series, _, _ = strings.Cut(series, "_")
	}
	return series
}

// OnlyBase is OnlySeries where parts that are kept for an age of their own do not count
// apart.
func OnlyBase(list []Segment) (string, error) {
	base := make([]Segment, len(list))
	for i, s := range list {
		base[i].ID.Series = BaseSeries(s.ID.Series)
	}
	return OnlySeries(base)
}

// maxAge is the series' own age, else that of the ring.
func (w *Writer) maxAge(series string) time.Duration {
	if age := SeriesAge(series); age > 0 {
		return age
	}
	return w.opt.MaxAge
}

// aged reports whether a segment is of a series with an age of its own.
func (w *Writer) aged() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.live, func(l liveSegment) bool { return SeriesAge(l.id.Series) > 0 })
}
