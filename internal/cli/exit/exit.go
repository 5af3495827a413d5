// Package exit defines the exit codes of the programs, and errors that carry an exit code
// and the next step.
package exit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// Codes, the same in every command of every program.
const (
	Done        = 0   // also with warnings
	Other       = 1   // any error without a specific code
	Usage       = 2   // invalid flags or arguments
	NotCapture  = 3   // an input has the wrong type, or is unreadable
	Damaged     = 4   // damaged input, or a warning with --strict
	Exists      = 5   // the output exists
	Disk        = 6   // the disk is full or broken
	NotBundle   = 7   // the input is not a bundle
	Verify      = 8   // verification failed
	Newer       = 9   // written by a newer release
	Refused     = 10  // SQL that is not a query, or reads outside the bundle
	Syntax      = 11  // KFL, SQL or a packet filter with a syntax error
	Limit       = 12  // a limit or deadline was reached
	Interrupted = 130 // Ctrl-C
)

// Error is an error with its exit code, and the next step if there is one.
type Error struct {
	Err  error
	Code int
	Hint string
}

// Error returns the message.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error without its code.
func (e *Error) Unwrap() error { return e.Err }

// ErrReported is the error of another program that was run and has printed its error.
var ErrReported = errors.New("reported by the other program")

// OfProgram is the error of another program of ours that ended with err: it keeps the exit code.
func OfProgram(err error) error {
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() > 0 {
		return With(ErrReported, ended.ExitCode(), "")
	}
	return err
}

// With adds a code and a hint to err.
func With(err error, code int, hint string) error { return &Error{err, code, hint} }

// Usagef returns an error of the command line. The program adds a hint that names --help.
func Usagef(format string, args ...any) error { return With(fmt.Errorf(format, args...), Usage, "") }

// NewOutput refuses an output before any work is done: if the file exists, its folder does
// not exist, or it is inside a bundle.
func NewOutput(path string) error {
	path = filepath.Clean(path)
	if _, err := os.Lstat(path); err == nil {
		return With(fmt.Errorf("output %s exists", path), Exists, "choose another name, or remove it first; nothing is overwritten")
	}
	if err := Outside(path); err != nil {
		return err
	}
	info, err := os.Stat(filepath.Dir(path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return With(fmt.Errorf("output %s: folder %s does not exist", path, filepath.Dir(path)), Usage, "create the folder first, or choose another output")
	case err != nil || !info.IsDir():
		return With(fmt.Errorf("output %s: %s is not a folder", path, filepath.Dir(path)), Usage, "choose an output in a folder that exists")
	}
	return nil
}

// OutputError gives a permission error of the folder of path the exit code Disk. Permission
// errors of other files keep their code.
func OutputError(err error, path string) error {
	var at *fs.PathError
	if errors.Is(err, fs.ErrPermission) && errors.As(err, &at) && filepath.Dir(at.Path) == filepath.Dir(filepath.Clean(path)) {
		return With(fmt.Errorf("output %s: writing to folder %s: %w", path, filepath.Dir(at.Path), at.Err), Disk, "check the folder's permissions, or choose another folder with -o")
	}
	return err
}
