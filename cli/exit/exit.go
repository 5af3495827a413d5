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
	NotCapture  = 3   // a file or folder, named by an argument or a flag, is unreadable or not what it should be
	Damaged     = 4   // damaged input, or a warning with --strict
	Exists      = 5   // the output exists
	Disk        = 6   // the disk is full or broken
	NotBundle   = 7   // the input is not a bundle
	Verify      = 8   // verification failed
	Newer       = 9   // written by a newer release
	Refused     = 10  // SQL that is not a query, or reads outside the bundle
	Syntax      = 11  // KFL, SQL, a packet filter or a YAML file with a mistake
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

// With adds a code and a hint to err. The code of a file that cannot be read does not depend on what names the file or
// on what it should contain: it is always NotCapture, and the hint is about its path.
func With(err error, code int, hint string) error {
	var file *fs.PathError
	if errors.As(err, &file) && (code == Usage || code == Syntax || code == NotCapture) {
		return &Error{err, NotCapture, "check the path and its permissions"}
	}
	return &Error{err, code, hint}
}

// WithDefault adds a code to err if it has none.
func WithDefault(err error, code int) error {
	var coded *Error
	if errors.As(err, &coded) {
		return err
	}
	return With(err, code, "")
}

// Usagef returns an error of the command line. The program adds a hint that names --help.
func Usagef(format string, args ...any) error { return With(fmt.Errorf(format, args...), Usage, "") }

// Folder refuses an input that is not a folder. what names it, such as a flag.
func Folder(what, path string) error {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("%s is not a folder", path)
	}
	return With(fmt.Errorf("%s: %w", what, err), NotCapture, "give a folder")
}

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
	return InFolder(path)
}

// InFolder refuses an output whose folder does not exist.
func InFolder(path string) error {
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
