//go:build !js

package viewer

import (
	"context"

	"github.com/pcapsule/pcapsule/cli/exit"
)

// serve needs a page.
func serve(context.Context, asker) error {
	return exit.Usagef("missing argument: ADDRESS, such as /mcp/cases")
}
