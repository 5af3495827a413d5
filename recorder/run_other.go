//go:build !linux

package recorder

import (
	"context"
	"runtime"
)

// Run returns ErrPlatform: recording needs Linux.
func Run(context.Context, Options) (Stats, error) { return Stats{}, ErrPlatform }

// Doctor reports that nothing can be recorded without Linux.
func Doctor() []Check {
	return []Check{{"system", Bad, runtime.GOOS, "record on Linux; bundles can be created and queried on any system"}}
}

// Unpin returns ErrPlatform.
func Unpin(string) (removed bool, err error) { return false, ErrPlatform }

// CanPin returns false.
func CanPin(string) bool { return false }
