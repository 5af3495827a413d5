package dissect

import "errors"

var (
	errUnknownCoding = errors.New("content coding not known")
	errDecodedLimit  = errors.New("decoded body over a limit: 32 MiB, or 48 MiB of all bodies that ended within 4096 packets")
)
