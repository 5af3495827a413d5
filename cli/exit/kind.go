package exit

import (
	"errors"
	"io/fs"
	"slices"
)

// IsDisk reports whether err means that the disk is full, broken or read-only.
func IsDisk(err error) bool { return isAny(err, diskErrors) }

// IsReadOnly reports whether err means that the file system is read-only.
func IsReadOnly(err error) bool { return isAny(err, readOnly) }

// IsNowhere reports whether err is that of a path that leads nowhere.
func IsNowhere(err error) bool { return errors.Is(err, fs.ErrNotExist) || isAny(err, badPaths) }

// IsClosedPipe reports whether err is only that of a closed pipe, as with | head. This ends a
// command early but is not an error.
func IsClosedPipe(err error) bool { return isAny(err, closedPipes) }

func isAny(err error, kinds []error) bool {
	return slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) })
}
