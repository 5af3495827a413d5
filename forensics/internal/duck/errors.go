package duck

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/forensics/internal/wire"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Errors of queries.
var (
	// ErrRefused reports a text that is not a query over the case, or that reaches outside it.
	ErrRefused = errors.New("refused")
	// ErrMemory reports a query that needs more than the memory limit.
	ErrMemory = errors.New("out of memory")
	// ErrDeadline reports a query that exceeded its deadline.
	ErrDeadline = errors.New("deadline exceeded")
	// ErrCrashed reports a query that crashed its process. The next query gets a new one.
	ErrCrashed = errors.New("the question ended the database process")
	// ErrDamaged reports a file of a table that cannot be read.
	ErrDamaged = errors.New("damaged bundle: data/tables")
)

// RefusedError is the reason for which a text was not run.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "SQL refused: " + e.Reason }

// Is makes the error match ErrRefused.
func (e *RefusedError) Is(target error) bool { return target == ErrRefused }

// SyntaxError reports SQL that does not parse or names something that does not exist.
type SyntaxError struct {
	Offset int    // byte offset in the text, -1 if unknown
	Line   int    // from 1; 0 if unknown
	Col    int    // from 1, in bytes
	Msg    string // message of DuckDB
	Table  string // the unknown table, if that is the mistake
}

func (e *SyntaxError) Error() string {
	if e.Line == 0 {
		return "SQL: " + e.Msg
	}
	return "SQL, line " + strconv.Itoa(e.Line) + ", column " + strconv.Itoa(e.Col) + ": " + e.Msg
}

// RangeError reports a value that overflows in a query's arithmetic, or that cannot be converted.
type RangeError struct{ Msg string }

func (e *RangeError) Error() string { return "SQL: " + e.Msg }

// limitError has DuckDB's message with one of the sentinels.
type limitError struct {
	kind error
	msg  string
}

func (e *limitError) Error() string        { return e.kind.Error() + ": " + e.msg }
func (e *limitError) Is(target error) bool { return target == e.kind }

// callerLine matches DuckDB's marker of the place: "LINE 1: select …" and a caret below.
var callerLine = regexp.MustCompile(`(?s)\n\nLINE (\d+): (.*?)\n( *)\^`)

// explain converts a worker's message to one of this package's errors. sql is the text of the query.
func explain(ctx context.Context, sql string, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, ErrMemory) {
		return cause
	}
	if ctx.Err() != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return &limitError{ErrDeadline, "the query took longer than it was given"}
		}
		return ctx.Err()
	}
	f := failure{}
	if !errors.As(err, &f) {
		if errors.Is(err, wire.ErrFrame) {
			return &limitError{ErrCrashed, err.Error()}
		}
		return err
	}
	switch f.Reason {
	case wire.Refused:
		return &RefusedError{f.Msg}
	case wire.TooBig:
		return &limitError{ErrMemory, fmt.Sprintf("a row takes more than %d MiB; ask for fewer columns, or for parts of them", wire.MaxRow>>20)}
	case wire.Said:
		return said(sql, f.Msg)
	}
	return errors.New("SQL: " + f.Msg)
}

// tooLarge matches DuckDB's errors about lists and texts above its own limits.
var tooLarge = regexp.MustCompile(`(?i)larger than 2\^|exceeds (the )?(maximum|48-bit)|maximum (allowed|supported|combined|total) |too (large|long) (for|to be)`)

const tooDeep = "nested too deeply, or a chain of too many operators; split it"

// deep reports whether DuckDB says that a statement is nested too deeply, for its parser or its stack.
func deep(text string) bool {
	return strings.Contains(text, "Max expression depth") || strings.Contains(text, "stack exhausted") || strings.HasPrefix(text, "memory exhausted at")
}

// said converts a message of DuckDB to an error.
func said(sql, msg string) error {
	kind, text, _ := strings.Cut(msg, ": ")
	if deep(text) {
		return &RefusedError{tooDeep}
	}
	switch kind {
	case "Parser Error", "Binder Error", "Catalog Error", "Syntax Error":
		return place(sql, text)
	case "Permission Error":
		return &RefusedError{text}
	case "Out of Memory Error":
		return &limitError{ErrMemory, firstLine(text)}
	case "INTERRUPT Error":
		return context.Canceled
	case "INTERNAL Error", "FATAL Error": // with a stack trace behind the first line
		return &limitError{ErrCrashed, firstLine(text)}
	}
	if strings.Contains(msg, "std::bad_alloc") {
		return &limitError{ErrMemory, "the database process reached its memory limit"}
	}
	if tooLarge.MatchString(text) && kind != "Conversion Error" {
		return &limitError{ErrMemory, "a list or text of the query is too large (" + firstLine(text) + "); make it shorter"}
	}
	if damaged(kind, text) {
		return &limitError{ErrDamaged, firstLine(text)}
	}
	msg, _, _ = strings.Cut(msg, "\n\nStack Trace")
	msg, _, _ = strings.Cut(msg, "\n\nLINE ") // a place in SQL that has our WITH
	msg = strings.TrimPrefix(msg, kind+": ")
	if kind == "Out of Range Error" || kind == "Conversion Error" {
		return &RangeError{firstLine(msg)}
	}
	return errors.New("SQL: " + msg)
}

// broken reports whether DuckDB is unusable: it rejects all further queries.
func broken(f *wire.Failure) bool {
	return f.Reason == wire.Said && (strings.HasPrefix(f.Msg, "INTERNAL Error") || strings.HasPrefix(f.Msg, "FATAL Error"))
}

// damaged reports whether DuckDB could not read a file of a table. It has no error type for that.
func damaged(kind, text string) bool {
	has := func(list ...string) bool {
		return slices.ContainsFunc(list, func(s string) bool { return strings.Contains(text, s) })
	}
	switch kind {
	case "IO Error": // except for temporary files of a query
		return !has("write", "space left")
	case "Invalid Error": // any error of the Parquet header reader; SQL errors have other types
		return true
	case "Invalid Input Error":
		return has("Parquet file", "Invalid string encoding found", "No magic bytes found", "Footer length error")
	}
	return has("decompression failed", "Decompression failure")
}

// maxQuoted is the length of a message that includes a value, in bytes: damaged tables have any.
const maxQuoted = 300

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	if len(line) > maxQuoted {
		return clip.Cut(line, maxQuoted) + "…"
	}
	return line
}

// Patterns of DuckDB's messages about unknown names.
var (
	noColumn = regexp.MustCompile(`^Referenced column ("(?:[^"]|"")*") not found in FROM clause!\s*(?:Candidate bindings: (.*))?$`)
	noMember = regexp.MustCompile(`^(?:Values list|Table) ("(?:[^"]|"")*") does not have a column named ("(?:[^"]|"")*")`)
	noName   = regexp.MustCompile(`^(?:[A-Za-z]+ )*(Function|Type) with name (\S+) does not exist!(?:\s*Did you mean "(.*)"\?)?`)
)

// compared matches what comes before a value.
var compared = regexp.MustCompile(`(?i)(?:[=<>]|\blike|\bin\s*\()\s*$`)

// words is DuckDB's message in our words.
func words(text string) string {
	text = strings.TrimSpace(text)
	if m := noMember.FindStringSubmatch(text); m != nil {
		return "table " + m[1] + " has no column " + m[2]
	}
	if m := noName.FindStringSubmatch(text); m != nil {
		return similar("there is no "+strings.ToLower(m[1])+" "+m[2], "is", m[3])
	}
	if m := noColumn.FindStringSubmatch(text); m != nil {
		return similar("there is no column "+m[1], "are", m[2])
	}
	return text
}

func similar(what, verb, names string) string {
	if names == "" {
		return what
	}
	return what + "; the most similar " + verb + " " + names
}

// place makes a SyntaxError; it converts DuckDB's caret to a place in sql.
func place(sql, text string) *SyntaxError {
	m := callerLine.FindStringSubmatchIndex(text)
	if m == nil {
		return &SyntaxError{Offset: -1, Msg: words(text)}
	}
	line, _ := strconv.Atoi(text[m[2]:m[3]])
	e := &SyntaxError{Offset: -1, Line: line, Msg: words(text[:m[0]])}
	caret := m[7] - m[6] - len("LINE : ") - (m[3] - m[2])
	shown := text[m[4]:m[5]]
	at := 0
	for range line - 1 {
		n := strings.IndexByte(sql[at:], '\n')
		if n < 0 {
			return e
		}
		at += n + 1
	}
	full, _, _ := strings.Cut(sql[at:], "\n")
	// A long line is shown in part, with dots where it was cut.
	if rest, ok := strings.CutPrefix(shown, "..."); ok {
		caret -= 3
		rest = strings.TrimSuffix(rest, "...")
		n := strings.Index(full, rest)
		if n < 0 {
			return e
		}
		caret += n
	}
	if caret < 0 || caret > len(full) {
		return e
	}
	e.Offset, e.Col = at+caret, caret+1
	if no := noColumn.FindStringSubmatch(strings.TrimSpace(text[:m[0]])); no != nil && compared.MatchString(sql[:e.Offset]) {
		e.Msg = strings.Replace(e.Msg, no[1], no[1]+" (text is in single quotes: '"+strings.Trim(no[1], `"`)+"')", 1)
	}
	return e
}
