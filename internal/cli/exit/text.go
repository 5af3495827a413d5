package exit

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
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
	if !errors.As(err, &at) || at.Path == "" {
		return text
	}
	problem := at.Err.Error()
	if errors.Is(at.Err, fs.ErrNotExist) {
		problem = "does not exist"
	}
	before, after, found := strings.Cut(text, at.Error())
	switch {
	case !found:
		return text
	case problem != "does not exist":
		return before + at.Path + ": " + problem + after
	case strings.HasSuffix(before, " "+at.Path+": "): // the path is named already
		return strings.TrimSuffix(before, ": ") + ": it does not exist" + after
	}
	return before + at.Path + " " + problem + after
}

// ranges are the values of the types of flags.
var ranges = map[string]string{
	"int": "-9223372036854775808 to 9223372036854775807", "int64": "-9223372036854775808 to 9223372036854775807", "int32": "-2147483648 to 2147483647",
	"uint": "0 to 18446744073709551615", "uint64": "0 to 18446744073709551615", "uint32": "0 to 4294967295", "uint16": "0 to 65535",
}

// length is the form of a length of time, which may still be too long for one.
var length = regexp.MustCompile(`^[+-]?([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$`)

// flagText describes a wrong value of a flag.
func flagText(e *pflag.InvalidValueError) string {
	f := e.GetFlag()
	want := ""
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
		if length.MatchString(e.GetValue()) {
			want = "too long, the longest is 292 years (2562047h)"
		}
	default:
		if cause := errors.Unwrap(e); cause != nil {
			want = cause.Error()
		}
	}
	if errors.Is(e, strconv.ErrRange) {
		want = "the number is too large"
		if strings.HasPrefix(e.GetValue(), "-") {
			want = "the number is too small"
		}
		if most := ranges[f.Value.Type()]; most != "" {
			want += ", the range is " + most
		}
	}
	return fmt.Sprintf("--%s %q: %s", f.Name, e.GetValue(), want)
}
