package alerts

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of all files together.
const (
	MaxRows  = 100_000
	MaxBytes = 24 << 20 // of kept lines
	maxLine  = 1 << 20
)

// File is what became of a file.
type File struct {
	Name    string // base name
	SHA256  [sha256.Size]byte
	Size    int64
	Counts  map[string]int64 // lines, other, malformed, oversize, limited
	Warning string           // with the first damaged line, or empty
}

// LineError is a line that cannot be read.
type LineError struct {
	Line int64
	Err  error
}

// Error implements error.
func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns the reason.
func (e *LineError) Unwrap() error { return e.Err }

// ErrEmpty means that a file has no line that can be read.
var ErrEmpty = errors.New("it is empty: an EVE log of Suricata or a log of Zeek is expected")

// Claims are those of all files, by time.
type Claims struct {
	Files []File
	lines [][]byte // kept lines, in the order of their times and then of their bytes

	rows, bytes int
	times       []int64
}

// New makes an empty list. rows and size are its limits.
func New(rows, size int) *Claims { return &Claims{rows: rows, bytes: size} }

// Len is the number of claims.
func (c *Claims) Len() int { return len(c.lines) }

// At returns a claim.
func (c *Claims) At(i int) (Claim, error) { return parseKept(c.lines[i]) }

// WriteTo writes the kept lines.
func (c *Claims) WriteTo(w io.Writer) (n int64, err error) {
	b := bufio.NewWriterSize(w, 256<<10)
	for _, line := range c.lines {
		for _, p := range [][]byte{line, {'\n'}} {
			k, err := b.Write(p)
			if n += int64(k); err != nil {
				return n, err
			}
		}
	}
	return n, b.Flush()
}

// Read reads a file. It returns an error if the file cannot be read, or nothing in it is understood: then it is a
// *LineError about the first line, or ErrEmpty.
func (c *Claims) Read(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := reading{to: c, file: File{Name: filepath.Base(path), Counts: map[string]int64{}}}
	h := sha256.New()
	in := bufio.NewReaderSize(io.TeeReader(f, h), 64<<10)
	for no := int64(1); ; no++ {
		line, long, err := readLine(in, r.buf[:0])
		r.buf = line
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("reading line %d: %w", no, err)
		}
		switch line = bytes.TrimSpace(line); {
		case long:
			r.bad("oversize", no, fmt.Errorf("it is longer than %d bytes", maxLine))
		case len(line) > 0:
			r.line(no, line)
		}
		if err != nil {
			break
		}
	}
	h.Sum(r.file.SHA256[:0])
	if info, err := f.Stat(); err == nil {
		r.file.Size = info.Size()
	}
	if r.understood == 0 {
		return cmp.Or(r.first, ErrEmpty)
	}
	r.file.Warning = r.warning()
	c.Files = append(c.Files, r.file)
	return nil
}

// readLine reads a line without its end into buf. Of a line that is too long, long is true.
func readLine(in *bufio.Reader, buf []byte) (line []byte, long bool, err error) {
	for {
		part, err := in.ReadSlice('\n')
		if long = long || len(buf)+len(part) > maxLine; !long {
			buf = append(buf, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimSuffix(buf, []byte("\n")), long, err
		}
	}
}

// reading is a file that is being read.
type reading struct {
	to         *Claims
	file       File
	buf        []byte
	zeek       *zeekLog // nil unless a header was read
	understood int64    // lines
	first      error    // about the first bad line
}

func (r *reading) bad(kind string, no int64, err error) {
	r.file.Counts[kind]++
	if r.first == nil {
		r.first = &LineError{no, err}
	}
}

// warning is what became of bad lines.
func (r *reading) warning() string {
	var list []string
	if n := r.file.Counts["malformed"] + r.file.Counts["oversize"]; n > 0 {
		list = append(list, fmt.Sprintf("%s left out: %v", clip.Count(n, "line was", "lines were"), r.first))
		if n > 1 {
			list[0] = fmt.Sprintf("%s left out; the first is %v", clip.Count(n, "line was", "lines were"), r.first)
		}
	}
	if n := r.file.Counts["limited"]; n > 0 {
		list = append(list, fmt.Sprintf("%s left out, because more than %d alerts or %d bytes of them are not kept", clip.Count(n, "alert was", "alerts were"), r.to.rows, r.to.bytes))
	}
	return strings.Join(list, "; ")
}

var errNeither = errors.New("it is neither JSON nor behind the header (#fields) of a log of Zeek")

// line reads a line that is not empty.
func (r *reading) line(no int64, line []byte) {
	if line[0] == '#' {
		if r.zeek == nil {
			r.zeek = &zeekLog{separator: "\t", empty: "(empty)", unset: "-"}
		}
		r.zeek.header(strings.ToValidUTF8(string(line), "\uFFFD"))
		if len(r.zeek.fields) > 0 {
			r.understood++
		}
		return
	}
	var x Claim
	var err error
	kept := bytes.HasPrefix(line, []byte(`{"pcapsule_alert":`))
	switch {
	case kept:
		x, err = parseKept(line)
	case line[0] == '{':
		x, err = parseJSON(line)
	case r.zeek == nil || len(r.zeek.fields) == 0:
		err = errNeither
	default:
		var o object
		if o, err = r.zeek.object(string(line)); err == nil {
			x, err = parseZeek(o, r.zeek.path)
		}
	}
	switch {
	case errors.Is(err, errOther):
		r.understood++
		r.file.Counts["other"]++
		return
	case err != nil:
		r.bad("malformed", no, err)
		return
	}
	r.understood++
	if !kept {
		x.Source, x.Line = r.file.Name, no
	}
	out, err := x.line()
	if err != nil {
		r.bad("malformed", no, err)
		return
	}
	if len(r.to.lines) >= r.to.rows || len(out)+1 > r.to.bytes {
		r.file.Counts["limited"]++
		return
	}
	r.to.bytes -= len(out) + 1
	r.file.Counts["lines"]++
	r.to.lines, r.to.times = append(r.to.lines, out), append(r.to.times, x.TsNs)
}

// Finish sorts the claims, leaves out lines that files repeat, and gives those of Zeek without ends the ends of another with
// the same uid.
func (c *Claims) Finish() error {
	if err := c.link(); err != nil {
		return err
	}
	order := make([]int, len(c.lines))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(c.times[a], c.times[b]), bytes.Compare(c.lines[a], c.lines[b]))
	})
	lines := make([][]byte, 0, len(order))
	for _, i := range order {
		if n := len(lines); n == 0 || !bytes.Equal(lines[n-1], c.lines[i]) {
			lines = append(lines, c.lines[i])
		}
	}
	c.lines, c.times = lines, nil
	return nil
}

// link completes claims of Zeek by their uid.
func (c *Claims) link() error {
	type ends struct {
		Program string `json:"program"`
		SaidID  string `json:"said_id"`
		Proto   string `json:"proto"`
		SrcIP   string `json:"src_ip"`
		SrcPort uint16 `json:"src_port"`
		DstIP   string `json:"dst_ip"`
		DstPort uint16 `json:"dst_port"`
	}
	need, known := map[string][]int{}, map[string]ends{}
	for i, line := range c.lines {
		var e ends
		if err := json.Unmarshal(line, &e); err != nil || e.Program != "zeek" || e.SaidID == "" {
			continue
		}
		if x := (&Claim{Proto: e.Proto, SrcIP: e.SrcIP, SrcPort: e.SrcPort, DstIP: e.DstIP, DstPort: e.DstPort}); x.Ends() == nil {
			need[e.SaidID] = append(need[e.SaidID], i)
		} else if _, ok := known[e.SaidID]; !ok && e.Proto != "" {
			known[e.SaidID] = e
		}
	}
	for id, list := range need {
		e, ok := known[id]
		if !ok {
			continue
		}
		for _, i := range list {
			x, err := parseKept(c.lines[i])
			if err != nil {
				return err
			}
			x.Proto, x.SrcIP, x.SrcPort, x.DstIP, x.DstPort = e.Proto, e.SrcIP, e.SrcPort, e.DstIP, e.DstPort
			if c.lines[i], err = x.line(); err != nil {
				return err
			}
		}
	}
	return nil
}
