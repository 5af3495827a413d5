package bundle

import (
	"errors"
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/bundle/internal/disk"
)

var (
	// ErrExists means that the output path of a bundle or ZIP already exists.
	ErrExists = disk.ErrExists
	// ErrNotBundle means that the opened path is not a bundle.
	ErrNotBundle = errors.New("not a bundle")
	// ErrNewerSchema means that a later release made the bundle; see NewerSchemaError.
	ErrNewerSchema = errors.New("newer schema")
	// ErrVerification means that Verify found problems; see Report.
	ErrVerification = errors.New("verification failed")
	// ErrAborted means that Abort was called before the bundle was finished.
	ErrAborted = errors.New("making the bundle was aborted")
)

// NewerSchemaError rejects a bundle with a schema that this release does not support.
type NewerSchemaError struct {
	Found, Known int
	Tool         Tool // who made it
}

func (e *NewerSchemaError) Error() string {
	return fmt.Sprintf("schema version %d, made by %q release %q; this release knows up to %d", e.Found, e.Tool.Name, e.Tool.Release, e.Known)
}

// Is makes the error match ErrNewerSchema.
func (e *NewerSchemaError) Is(target error) bool { return target == ErrNewerSchema }

// DamagedError is a bundle that cannot be used, with the file that causes it.
type DamagedError struct {
	File string // path inside the bundle or ZIP
	What string
	Err  error // the cause, may be nil
}

func (e *DamagedError) Error() string { return fmt.Sprintf("damaged bundle: %s: %s", e.File, e.What) }

// Unwrap returns the cause of the damage.
func (e *DamagedError) Unwrap() error { return e.Err }
