// Package nightly gives long tests a short form. "make nightly" runs them as a whole, everything else, such as "make test",
// in their short form: the same assertions about a part of the cases.
package nightly

import "os"

// On reports whether tests run as a whole.
func On() bool { return os.Getenv("PCAPSULE_NIGHTLY") != "" }

// Of returns a number of cases, or a step between them: short, or whole if tests run as a whole.
func Of(short, whole int) int {
	if On() {
		return whole
	}
	return short
}

// Some returns n of the cases, evenly spread from the first to the last, or all if tests run as a whole.
func Some[T any](cases []T, n int) []T {
	if On() || len(cases) <= n {
		return cases
	}
	some := make([]T, n)
	for i := range some {
		some[i] = cases[i*(len(cases)-1)/max(n-1, 1)]
	}
	return some
}
