//go:build !linux

package recorder

import "context"

// Run answers ErrPlatform: only Linux has what recording needs.
func Run(context.Context, Options) (Stats, error) { return Stats{}, ErrPlatform }
