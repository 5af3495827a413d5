package workload

import (
	"sort"
	"strings"
	"time"
	"unicode/utf8"
)

// clean makes text from outside safe for people and tables: valid UTF-8 of at most limit
// bytes, without control characters or characters that change the reading direction. White
// space becomes spaces. cut says that bytes were dropped from the end.
func clean(s string, limit int) (out string, cut bool) {
	if plain(s) && len(s) <= limit {
		return s, false
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			r = ' '
		case r < 0x20 || r >= 0x7f && r < 0xa0,
			r >= 0x200e && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			continue
		}
		if b.Len()+utf8.RuneLen(r) > limit {
			return b.String(), true
		}
		b.WriteRune(r)
	}
	return b.String(), false
}

// plain reports whether s has printable ASCII only.
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// cleanName is clean with the length limit of names.
func cleanName(s string) string {
	out, _ := clean(s, maxName)
	return strings.TrimSpace(out)
}

// labelsOf returns cleaned labels, sorted by name; cut counts those that limits affected.
func labelsOf(m map[string]string) (labels []Label, cut int64) {
	if len(m) == 0 {
		return nil, 0
	}
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	if len(names) > maxLabels {
		cut += int64(len(names) - maxLabels)
		names = names[:maxLabels]
	}
	labels = make([]Label, 0, len(names))
	for _, name := range names {
		value, c1 := clean(m[name], maxName)
		name, c2 := clean(name, maxName)
		if c1 || c2 {
			cut++
		}
		labels = append(labels, Label{name, value})
	}
	// Cleaning may have changed the order or made two names equal.
	sort.SliceStable(labels, func(i, j int) bool { return labels[i].Name < labels[j].Name })
	kept := labels[:1]
	for _, l := range labels[1:] {
		if l.Name != kept[len(kept)-1].Name {
			kept = append(kept, l)
		}
	}
	return kept, cut
}

// parseTime parses an RFC 3339 time; 0 if it is invalid or does not fit in 64 bits of nanoseconds.
func parseTime(s string) int64 {
	if s == "" || len(s) > 64 {
		return 0
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() < 1970 || t.Year() > 2261 {
		return 0
	}
	return t.UnixNano()
}

// formatTime is the inverse of parseTime; empty for 0.
func formatTime(ns int64) string {
	if ns == 0 {
		return ""
	}
	return time.Unix(0, ns).UTC().Format(time.RFC3339Nano)
}
