package machine

import "errors"

// ErrCgroup means that the machine has no control groups of version 2.
var ErrCgroup = errors.New("control groups version 2 are not mounted")
