package dissect

import "errors"

var (
	errUnknownCoding = errors.New("unknown content coding")
	errDecodedLimit  = errors.New("the decoded body exceeds a limit: 32 MiB, or 48 MiB for all bodies that end within 4096 packets")
)
