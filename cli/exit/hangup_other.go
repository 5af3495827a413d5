//go:build !js

package exit

import (
	"os"
	"syscall"
)

// hangup is what a closed terminal sends.
var hangup os.Signal = syscall.SIGHUP
