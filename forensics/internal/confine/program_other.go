//go:build !linux

package confine

import "errors"

// ErrUnconfined means that the system lacks what confines another program.
var ErrUnconfined = errors.New("this system cannot confine it: use Linux")

// Become returns ErrUnconfined.
func Become(*Program) error { return ErrUnconfined }
