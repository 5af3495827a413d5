package dissect

import "errors"

var (
	errUnknownCoding = errors.New("content coding not known")
	errDecodedLimit  = errors.New("decoded body over the limit of 32 MiB")
)
