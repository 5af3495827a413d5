//go:build !linux

package recorder

import (
	"context"
	"runtime"
)

// Run answers ErrPlatform: only Linux has what recording needs.
func Run(context.Context, Options) (Stats, error) { return Stats{}, ErrPlatform }

// Doctor says what this machine can record: nothing, without Linux.
func Doctor() []Check {
	return []Check{{"system", Bad, runtime.GOOS, "record on Linux; bundles are made and asked everywhere"}}
}

// Unpin answers ErrPlatform.
func Unpin(string) (removed bool, err error) { return false, ErrPlatform }
