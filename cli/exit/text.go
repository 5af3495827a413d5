package exit

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Text is an error in words for people: without system calls, and without functions that parse flags.
func Text(err error) string {
	text := err.Error()
	var value *pflag.InvalidValueError
	if errors.As(err, &value) {
		return strings.Replace(text, value.Error(), flagText(value), 1)
	}
	var at *fs.PathError
	if !errors.As(err, &at) {
		return text
	}
	if at.Path == "" {
		return strings.ReplaceAll(strings.Replace(text, at.Error(), "the name of the file is empty", 1), " : ", ": ")
	}
	problem := at.Err.Error()
	if errors.Is(at.Err, fs.ErrNotExist) {
		problem = "does not exist"
	}
	if slices.ContainsFunc(folders, func(folder error) bool { return errors.Is(at.Err, folder) }) {
		problem = "is a folder, not a file"
	}
	before, after, found := strings.Cut(text, at.Error())
	named := strings.HasSuffix(before, " "+at.Path+": ") // the path is named already
	switch {
	case !found:
		return text
	case problem == at.Err.Error() && named:
		return before + problem + after
	case problem == at.Err.Error():
		return before + at.Path + ": " + problem + after
	case named:
		return strings.TrimSuffix(before, ": ") + ": it " + problem + after
	}
	return before + at.Path + " " + problem + after
}

// RangeError says which values a flag with a number can have.
type RangeError string

// Error implements error.
func (e RangeError) Error() string { return string(e) }

// flagText describes a wrong value of a flag.
func flagText(e *pflag.InvalidValueError) string {
	f := e.GetFlag()
	want := ""
	var outside RangeError
	if errors.As(e, &outside) {
		return fmt.Sprintf("--%s %q: %s", f.Name, e.GetValue(), outside)
	}
	switch f.Value.Type() {
	case "bool":
		want = "must be true or false"
	case "int", "int32", "int64":
		want = "must be a whole number"
	case "uint", "uint16", "uint32", "uint64":
		want = "must be a whole number from 0"
	case "float64":
		want = "must be a number"
	case "duration":
		want = "must be a length of time such as 30s, 15m or 2h"
	default:
		if cause := errors.Unwrap(e); cause != nil {
			want = cause.Error()
		}
	}
	return fmt.Sprintf("--%s %q: %s", f.Name, e.GetValue(), want)
}
