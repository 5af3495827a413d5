package ask

import (
	"encoding/json"
	"fmt"
	"slices"
)

// FitBytes cuts a list so that its JSON has at most most bytes, and reports whether it cut.
func FitBytes[T any](list []T, most int) ([]T, bool) {
	for i := range list {
		text, err := json.Marshal(list[i])
		if most -= len(text) + 1; err != nil || most < 0 && i > 0 {
			return list[:i], true
		}
	}
	return list, false
}

// Fit cuts a list to the limit of the window and marks the answer as truncated.
func Fit[T any](w *Window, out *Frame, list []T) []T {
	if len(list) > w.Limit {
		list, out.Truncated = list[:w.Limit], true
	}
	return list
}

// MaxNames is the highest number of names that a row of an answer lists.
const MaxNames = 10

// AddName adds names to a sorted set.
func AddName(list []string, names ...string) []string {
	for _, name := range names {
		if i, found := slices.BinarySearch(list, name); !found {
			list = slices.Insert(list, i, name)
		}
	}
	return list
}

// SomeNames cuts a list to MaxNames; the last entry then counts the rest.
func SomeNames(list []string) []string {
	if len(list) > MaxNames {
		return append(list[:MaxNames-1:MaxNames-1], fmt.Sprintf("… %d more", len(list)-MaxNames+1))
	}
	return list
}
