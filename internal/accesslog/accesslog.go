// Package accesslog appends lines to an access log: who read which evidence, when, with which
// program, and the question. The log is outside of all bundles, and the same for commands, MCP and
// HTTP.
package accesslog

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
)

// maxArguments is the number of bytes of a question in an entry; the hash covers all.
const maxArguments = 4 << 10

// Entry is one line: the person, the question, and the answer.
type Entry struct {
	Time      string     `json:"time"`              // when the question came
	Client    string     `json:"client"`            // program, name and version; of MCP clients as they say
	User      string     `json:"user,omitempty"`    // account, or owner of the token
	Remote    string     `json:"remote,omitempty"`  // address; none for commands and standard streams
	Host      string     `json:"host,omitempty"`    // machine of a command
	Session   string     `json:"session,omitempty"` // hash of the session's id, which is a secret
	Method    string     `json:"method"`            // of MCP; "http GET"; "command" when one begins, "command end" when it ends
	Name      string     `json:"name,omitempty"`    // tool, prompt, URI or command
	Evidence  []Evidence `json:"evidence,omitempty"`
	Arguments string     `json:"arguments,omitempty"` // with secrets masked, at most 4 KiB
	SHA256    string     `json:"arguments_sha256,omitempty"`
	Rows      int        `json:"rows"`
	Bytes     int        `json:"bytes"`
	Ms        float64    `json:"duration_ms"`
	Exit      *int       `json:"exit,omitempty"` // exit code of a command
	Error     string     `json:"error,omitempty"`
}

// Evidence is a bundle that a command reads.
type Evidence struct {
	Path        string `json:"path"`
	TagManifest string `json:"tagmanifest_sha256"`
}

// Ask puts arguments into the entry: masked and at most 4 KiB, with the hash of all of them.
func (e *Entry) Ask(args []byte, mask func(string) string) {
	if len(args) == 0 {
		return
	}
	sum := sha256.Sum256(args)
	e.SHA256 = hex.EncodeToString(sum[:])
	e.Arguments = mask(string(args))
	if len(e.Arguments) > maxArguments {
		e.Arguments = strings.ToValidUTF8(e.Arguments[:maxArguments], "") // cut between characters
	}
}

// Log is a file of JSON lines, or another place of them. If the file is renamed, as programs that rotate logs do, a new one
// is made.
type Log struct {
	mu   sync.Mutex
	path string
	f    *os.File
	to   io.Writer // instead of a file
}

// To makes a log that writes to w.
func To(w io.Writer) *Log { return &Log{to: w} }

// Open opens a log to append to.
func Open(path string) (*Log, error) {
	l := &Log{path: path}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("opening access log: %w", err)
	}
	return l, nil
}

func (l *Log) open() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	l.f = f
	return nil
}

// Write appends a line.
func (l *Log) Write(e Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	to := l.to
	if to == nil {
		if err := l.follow(); err != nil {
			return fmt.Errorf("writing access log: %w", err)
		}
		to = l.f
	}
	if _, err := to.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing access log: %w", err)
	}
	return nil
}

// follow opens the log again if its name now belongs to another file.
func (l *Log) follow() error {
	if l.f != nil {
		there, err := os.Stat(l.path)
		if err == nil {
			if mine, err := l.f.Stat(); err == nil && os.SameFile(there, mine) {
				return nil
			}
		}
		_ = l.f.Close() // everything was written; the name is another file's now
		l.f = nil
	}
	return l.open()
}

// Close closes the log.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	f := l.f
	l.f = nil
	return f.Close()
}
