//go:build !linux

package recheck

// limit does nothing: the time limit and the limits of input and output remain.
func limit(int) error { return nil }
