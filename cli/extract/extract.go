// Package extract writes files with untrusted names into a new folder.
//
// Nothing is written outside the folder, regardless of the names; no file is executable, and none
// replaces another. The folder has a manifest with the name, the hash and the call of every file,
// including those that were not written. Limits bound the number of files and their size.
package extract

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gabriel-vasile/mimetype"

	"github.com/pcapsule/pcapsule/exporter/dissect/object"
)

// Manifest is the name of the list of files in the folder.
const Manifest = "manifest.jsonl"

// maxName is the length of a file's name in bytes, without its number.
const maxName = 120

// Entry is a line of the manifest.
type Entry struct {
	File     string `json:"file,omitempty"` // in the folder; empty if it was not written
	Name     string `json:"name,omitempty"` // in the protocol's own words
	SHA256   string `json:"sha256"`
	Size     int64  `json:"size"`
	Type     string `json:"detected_type,omitempty"`
	Declared string `json:"declared_type,omitempty"`
	ObjectID string `json:"object_id"`
	CallID   string `json:"call_id"`
	Protocol string `json:"protocol"`
	Time     string `json:"time"`
	Complete bool   `json:"complete"`
	Why      string `json:"why,omitempty"`     // why it is not complete
	Skipped  string `json:"skipped,omitempty"` // why it was not written: max_size, most, too_large, not_found, damaged
}

// Limits bound the output of a Writer.
type Limits struct {
	Bytes int64
	Files int
}

// Folder is a new folder that gets files.
type Folder struct {
	root     *os.Root
	limits   Limits
	manifest *os.File
	lines    *bufio.Writer

	Files int   // written
	Bytes int64 // of these
	Left  map[string]int
}

// New makes the folder, which must not exist.
func New(dir string, l Limits) (*Folder, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	f := &Folder{root: root, limits: l, Left: map[string]int{}}
	if f.manifest, err = f.create(Manifest); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	f.lines = bufio.NewWriter(f.manifest)
	return f, nil
}

func (f *Folder) create(name string) (*os.File, error) {
	return f.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
}

// Close ends the manifest.
func (f *Folder) Close() error {
	return errors.Join(f.lines.Flush(), f.manifest.Sync(), f.manifest.Close(), f.root.Close())
}

// Skip records a file that is not written.
func (f *Folder) Skip(e Entry, why string) error {
	e.Skipped = why
	f.Left[why]++
	return f.note(e)
}

func (f *Folder) note(e Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = f.lines.Write(append(line, '\n'))
	return err
}

// Full is the reason why a file of this size may not be written, or "".
func (f *Folder) Full(size int64) string {
	switch {
	case f.Files >= f.limits.Files:
		return "most"
	case f.Bytes+size > f.limits.Bytes:
		return "max_size"
	}
	return ""
}

// Add writes a file whose bytes are those of r after the transfer decoding. A file with another hash
// than the entry's is not kept.
func (f *Folder) Add(e Entry, transfer string, r io.Reader) error {
	if why := f.Full(e.Size); why != "" {
		return f.Skip(e, why)
	}
	name := fmt.Sprintf("%06d-%s", f.Files+1, SafeName(e.Name, e.Type))
	out, err := f.create(name)
	if err != nil {
		return err
	}
	got, err := write(out, e.Size, transfer, r)
	if err = errors.Join(err, out.Close()); err == nil && got == e.SHA256 {
		f.Files, f.Bytes, e.File = f.Files+1, f.Bytes+e.Size, name
		return f.note(e)
	}
	err = errors.Join(err, f.root.Remove(name))
	if err == nil {
		return f.Skip(e, "damaged")
	}
	return err
}

// write writes at most size bytes and one more, and returns the hash of all.
func write(out io.Writer, size int64, transfer string, r io.Reader) (hash string, err error) {
	sum := sha256.New()
	to := &limited{w: io.MultiWriter(out, sum), left: size}
	d := object.NewDecoder(transfer, to)
	if _, err = io.Copy(d, r); err == nil {
		if c, ok := d.(io.Closer); ok {
			_ = c.Close() // the bytes that were decoded are the file; column why says that some were not
		}
	}
	if errors.Is(err, errLonger) {
		return "", nil
	}
	return hex.EncodeToString(sum.Sum(nil)), err
}

// errLonger reports that there are more bytes than in the table.
var errLonger = errors.New("the file is longer than its row says")

type limited struct {
	w    io.Writer
	left int64
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= int64(len(p)); l.left < 0 {
		return 0, errLonger
	}
	return l.w.Write(p)
}

// SafeName is a name that every file system takes as a plain one, without the number before it: the last
// segment, letters, digits and a few signs, not too long. A file without a name gets one by its type.
func SafeName(name, kind string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	ext := ""
	if t := mimetype.Lookup(kind); t != nil {
		ext = t.Extension()
	}
	if kind == "message/rfc822" {
		ext = ".eml"
	}
	if strings.Trim(name, "._ ") == "" {
		return "file" + ext
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r), strings.ContainsRune("._-+()[]@,= ", r):
			return r
		}
		return '_'
	}, strings.ToValidUTF8(name, "_"))
	if ext == ".eml" && !strings.EqualFold(path.Ext(name), ext) {
		name = cut(name, maxName-len(ext)) + ext
	}
	if len(name) > maxName {
		end := path.Ext(name)
		if len(end) > 16 {
			end = ""
		}
		name = cut(name, maxName-len(end)) + end
	}
	return strings.TrimRight(name, ". ")
}

// cut is the beginning of a name that does not end within a letter.
func cut(s string, n int) string {
	for len(s) > n {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}
