package exit

import (
	"crypto/tls"
	"encoding/csv"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Text is an error in words for people: without system calls, requests, and functions that parse flags.
func Text(err error) string {
	text := plainText(err)
	var value *pflag.InvalidValueError
	if errors.As(err, &value) {
		return strings.Replace(text, value.Error(), flagText(value), 1)
	}
	var at *fs.PathError
	if !errors.As(err, &at) {
		return strings.Replace(text, fs.ErrNotExist.Error(), "it does not exist", 1)
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

// plainText is the text of err, with the server and the problem in place of the request and the system call, and the
// mistake in a regular expression without the function that found it.
func plainText(err error) string {
	text := err.Error()
	var pattern *syntax.Error
	if errors.As(err, &pattern) {
		text = strings.Replace(text, pattern.Error(), fmt.Sprintf("pattern %q: %s", pattern.Expr, pattern.Code), 1)
	}
	var asked *url.Error
	if errors.As(err, &asked) {
		text = strings.Replace(text, asked.Error(), requestText(asked), 1)
	}
	var op *net.OpError
	if errors.As(err, &op) {
		text = strings.Replace(text, op.Error(), connectionText(op), 1)
	}
	return text
}

func requestText(asked *url.Error) string {
	problem := asked.Err.Error()
	var op *net.OpError
	var plain tls.RecordHeaderError
	u, err := url.Parse(asked.URL)
	switch {
	case err != nil || errors.As(asked, &op): // which names the server
		return problem
	case errors.As(asked, &plain), errors.Is(asked, http.ErrSchemeMismatch):
		return u.Host + ": it does not use TLS"
	}
	return u.Host + ": " + problem
}

func connectionText(op *net.OpError) string {
	problem := op.Err.Error()
	var host *net.DNSError
	var call *os.SyscallError
	if errors.As(op, &host) {
		return host.Name + ": " + host.Err
	}
	if errors.As(op, &call) {
		problem = call.Err.Error()
	}
	if op.Addr == nil {
		return problem
	}
	return op.Addr.String() + ": " + problem
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
	var list *csv.ParseError
	if errors.As(e, &outside) {
		return fmt.Sprintf("--%s %q: %s", f.Name, e.GetValue(), outside)
	}
	if errors.As(e, &list) {
		return fmt.Sprintf("--%s %q: must be values with commas between them; the quotation marks do not match", f.Name, e.GetValue())
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
