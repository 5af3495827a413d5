//go:build !linux

package recorder

import "runtime"

// Doctor says what this machine can record: nothing, without Linux.
func Doctor() []Check {
	return []Check{{"system", Bad, runtime.GOOS, "record on Linux; bundles are made and asked everywhere"}}
}
