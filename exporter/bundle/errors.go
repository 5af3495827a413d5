package bundle

import (
	"errors"
	"fmt"
)

var (
	// ErrExists says that something is at the place where a bundle or ZIP should go.
	ErrExists = errors.New("output exists")
	// ErrNotBundle says that what was opened is no bundle at all.
	ErrNotBundle = errors.New("not a bundle")
	// ErrNewerSchema says that a later release made the bundle; see NewerSchemaError.
	ErrNewerSchema = errors.New("newer schema")
	// ErrVerification says that Verify found problems; see Report.
	ErrVerification = errors.New("verification failed")
	// ErrAborted says that Abort was called before the bundle was finished.
	ErrAborted = errors.New("making the bundle was aborted")
)

// NewerSchemaError is the refusal of a bundle whose schema this release does not know.
type NewerSchemaError struct {
	Found, Known int
	Tool         Tool // who made it
}

func (e *NewerSchemaError) Error() string {
	return fmt.Sprintf("schema version %d, made by %q release %q; this release knows up to %d", e.Found, e.Tool.Name, e.Tool.Release, e.Known)
}

// Is makes the error match ErrNewerSchema.
func (e *NewerSchemaError) Is(target error) bool { return target == ErrNewerSchema }

// DamagedError is a bundle that cannot be used as it is, and the file to blame.
type DamagedError struct {
	File string // path inside the bundle or ZIP
	What string
	Err  error // what stands behind it, may be nil
}

func (e *DamagedError) Error() string { return fmt.Sprintf("damaged bundle: %s: %s", e.File, e.What) }

// Unwrap returns what stands behind the damage.
func (e *DamagedError) Unwrap() error { return e.Err }
