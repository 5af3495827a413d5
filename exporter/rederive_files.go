package exporter

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/join"
	"github.com/pcapsule/pcapsule/exporter/internal/parts"
)

// comparison compares a bundle with the one made again from its packets.
type comparison struct {
	b     *bundle.Bundle
	again *bundle.Builder
	made  *bundle.Manifest
	files []bundle.Payload // files of the new bundle
	same  bool             // the same release made both, so the bytes must be equal

	keysAgree    bool // the kept keys are the same, possibly in another order
	otherRelease bool // a part comes from this release although bundle.json names another
	r            *Rederived
}

const (
	openSQLPath = "data/open.sql"
	blocksPath  = "data/blocks-sha256.txt"
	jsonPath    = "data/bundle.json"
	tablesPath  = "data/tables/"
	readmePath  = "README.html"
)

func (c *comparison) run(ctx context.Context) error {
	made := map[string]bundle.Digest{}
	for _, f := range c.files {
		made[f.Path] = f.SHA256
	}
	differ := map[string]bool{} // folders of tables
	for _, f := range c.b.Payload() {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		want, ok := made[f.Path]
		delete(made, f.Path)
		if err := c.file(f, want, ok, differ); err != nil {
			return err
		}
	}
	for _, f := range c.files {
		if _, left := made[f.Path]; !left || f.Path == blocksPath && !c.same { // older releases wrote none
			continue
		}
		c.r.Add(Difference{File: f.Path, What: "the packets produce this file, but the bundle lacks it"})
		if strings.HasPrefix(f.Path, tablesPath) {
			differ[path.Dir(f.Path)] = true
		}
	}
	if err := c.tables(ctx, differ); err != nil {
		return err
	}
	if err := c.readme(); err != nil {
		return err
	}
	return c.manifest()
}

// readme compares README.html, which people open in a browser, with that of bundle.json. Only the
// release that wrote it can compare it.
func (c *comparison) readme() error {
	if !c.same {
		c.unproven(readmePath)
		return nil
	}
	want, err := c.b.Manifest.Readme()
	if err != nil {
		return err
	}
	there := c.b.Path(readmePath)
	f, err := os.Open(there)
	if err != nil {
		c.r.Add(Difference{File: readmePath, What: "release " + c.r.By + " writes this file, but the bundle lacks it"})
		return nil
	}
	defer f.Close()
	got, err := io.ReadAll(io.LimitReader(f, int64(len(want))+1))
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		c.r.Add(Difference{File: readmePath, What: "it is not the page that release " + c.r.By + " writes for this bundle.json; do not open it"})
	}
	return nil
}

// file compares one file of the bundle; differ receives the folder of a table's part that is not
// identical.
func (c *comparison) file(f bundle.Payload, want bundle.Digest, ok bool, differ map[string]bool) error {
	isPart := strings.HasPrefix(f.Path, tablesPath)
	switch {
	case f.Path == jsonPath:
		return nil // field by field, later
	case f.Path == join.SealedKeysPath && c.uses(f.Path):
		c.unproven("data/keys")
		return nil // encrypted anew each time
	case strings.HasPrefix(f.Path, "data/derived/") && c.b.Manifest.Derived != nil:
		c.unproven("data/derived")
		return nil // proofs about the original
	case !ok:
		c.r.Add(Difference{File: f.Path, What: "the packets do not produce this file"})
		if isPart {
			differ[path.Dir(f.Path)] = true
		}
		return nil
	case strings.HasPrefix(f.Path, "data/packets/"):
		if f.SHA256 != want { // it was hashed while it was read
			c.r.Add(Difference{File: f.Path, What: fmt.Sprintf("its SHA-256 is %s, the manifest says %s", want, f.SHA256)})
		}
		return nil
	}
	there, again := c.b.Path(f.Path), c.again.Path(f.Path)
	same, at, err := equalFiles(there, again)
	switch {
	case err != nil:
		return err
	case same:
		c.r.Files++
		if isPart && !c.same { // each part contains the release that wrote it
			c.otherRelease = true
		}
	case isPart:
		differ[path.Dir(f.Path)] = true
	case f.Path == join.KeysPath: // its lines are secrets, and not shown
		return c.keys(there, again)
	case f.Path == openSQLPath && !c.same:
		c.unproven("data/open.sql")
	default:
		c.r.Add(Difference{File: f.Path, What: fmt.Sprintf("line %d differs from what the packets produce: %s instead of %s", at, lineOf(there, at), lineOf(again, at))})
	}
	return nil
}

// keys compares the kept keys, which may be in the order of different files.
func (c *comparison) keys(there, again string) error {
	a, err := lineSums(there)
	if err != nil {
		return err
	}
	b, err := lineSums(again)
	if err != nil {
		return err
	}
	if c.keysAgree = maps.Equal(a, b); !c.keysAgree {
		c.r.Add(Difference{File: join.KeysPath, What: "its keys are not those that decrypt the packets"})
	}
	return nil
}

// lineSums returns the SHA-256 of every line of a file, with its number of occurrences.
func lineSums(path string) (map[[sha256.Size]byte]int, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sums := map[[sha256.Size]byte]int{}
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		sums[sha256.Sum256(in.Bytes())]++
	}
	return sums, in.Err()
}

// uses reports whether bundle.json lists a side input of that path.
func (c *comparison) uses(rel string) bool {
	return slices.ContainsFunc(c.b.Manifest.SideInputs, func(s bundle.SideInput) bool { return s.Path == rel })
}

// unproven records a field that packets cannot prove.
func (c *comparison) unproven(field string) {
	if i, found := slices.BinarySearch(c.r.Unproven, field); !found {
		c.r.Unproven = slices.Insert(c.r.Unproven, i, field)
	}
}

// equalFiles compares two files; if they differ, it returns the line.
func equalFiles(a, b string) (same bool, line int, err error) {
	f, err := os.Open(a)
	if err != nil {
		return false, 0, err
	}
	defer f.Close()
	g, err := os.Open(b)
	if err != nil {
		return false, 0, err
	}
	defer g.Close()
	line = 1
	p, q := make([]byte, 128<<10), make([]byte, 128<<10)
	for {
		n, err := io.ReadFull(f, p)
		m, err2 := io.ReadFull(g, q)
		for i := range min(n, m) {
			if p[i] != q[i] {
				return false, line + bytes.Count(p[:i], []byte{'\n'}), nil
			}
		}
		line += bytes.Count(p[:min(n, m)], []byte{'\n'})
		for _, e := range []error{err, err2} {
			if e != nil && e != io.EOF && e != io.ErrUnexpectedEOF {
				return false, 0, e
			}
		}
		if n != m {
			return false, line, nil
		}
		if err != nil {
			return true, 0, nil
		}
	}
}

// lineOf quotes a line of a text file, shortened.
func lineOf(path string, no int) string {
	f, err := os.Open(path)
	if err != nil {
		return "?"
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 4096)
	for n := 1; ; {
		line, err := in.ReadSlice('\n')
		if n == no || err != nil && err != bufio.ErrBufferFull {
			if n != no || len(line) == 0 {
				return "no such line"
			}
			return fmt.Sprintf("%.100q", strings.TrimSuffix(string(line), "\n"))
		}
		if err == nil {
			n++
		}
	}
}

// tables compares the tables, and the files of those that are not identical.
func (c *comparison) tables(ctx context.Context, differ map[string]bool) error {
	made := map[string]*bundle.Table{}
	for i := range c.made.Tables {
		made[tableName(&c.made.Tables[i])] = &c.made.Tables[i]
	}
	for i := range c.b.Manifest.Tables {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		t := &c.b.Manifest.Tables[i]
		name := tableName(t)
		c.r.Tables++
		m := made[name]
		delete(made, name)
		if m == nil {
			c.r.Add(Difference{Table: name, What: "the packets produce no such table, or bundle.json has it twice"})
			continue
		}
		folder := tablesPath + t.Name
		if t.Protocol != "" {
			folder += "/protocol=" + t.Protocol
		}
		var digests map[string][sha256.Size]byte
		if differ[folder] {
			digests = c.parts(name, folder)
		}
		delete(differ, folder)
		c.table(name, t, m, digests)
	}
	for _, t := range c.made.Tables {
		if name := tableName(&t); made[name] != nil {
			c.r.Add(Difference{Table: name, What: "the packets produce it, but bundle.json lacks it"})
		}
	}
	return nil
}

func tableName(t *bundle.Table) string {
	if t.Protocol == "" {
		return t.Name
	}
	return t.Name + "/" + t.Protocol
}

// parts compares the files of a table row by row and returns the digests of their columns.
func (c *comparison) parts(name, folder string) map[string][sha256.Size]byte {
	var there, again []string
	for _, f := range c.b.Payload() {
		if path.Dir(f.Path) == folder {
			there = append(there, c.b.Path(f.Path))
		}
	}
	for _, f := range c.files {
		if path.Dir(f.Path) == folder {
			again = append(again, c.again.Path(f.Path))
		}
	}
	res := parts.Compare(there, again, c.same, "pcapsule version "+c.b.Manifest.Tool.Release)
	for _, d := range res.Differences {
		x := Difference{Table: name, Column: d.Column, What: d.What}
		if d.Row >= 0 {
			x.Row = &d.Row
		}
		c.r.Add(x)
	}
	if c.same && len(res.Differences) == 0 {
		c.r.Add(Difference{Table: name, What: "its rows match the packets, but its files are not those that release " + c.r.By +
			" writes: their metadata can hide rows from readers"})
	}
	return res.Digests
}

// table compares the description of a table in bundle.json with the new table, and with the
// digests of the columns in the files, if these had to be read.
func (c *comparison) table(name string, t, m *bundle.Table, digests map[string][sha256.Size]byte) {
	if t.Rows != m.Rows {
		c.r.Add(Difference{Table: name, What: fmt.Sprintf("bundle.json says %d rows, the packets produce %d", t.Rows, m.Rows)})
	}
	if t.Parts != m.Parts {
		c.r.Add(Difference{Table: name, What: fmt.Sprintf("bundle.json says %d parts, the packets produce %d", t.Parts, m.Parts)})
	}
	made, moved := map[string]bundle.Column{}, false
	for _, col := range m.Columns {
		made[col.Name] = col
	}
	for i, col := range t.Columns {
		c.r.Columns++
		again, ok := made[col.Name]
		delete(made, col.Name)
		switch {
		case !ok:
			c.r.Add(Difference{Table: name, Column: col.Name, What: "bundle.json has it, but the packets produce no such column"})
			continue
		case again.Type != col.Type:
			c.r.Add(Difference{Table: name, Column: col.Name, What: fmt.Sprintf("bundle.json says %s, the packets produce %s", col.Type, again.Type)})
		case again.SHA256 != col.SHA256:
			c.r.Add(Difference{Table: name, Column: col.Name, What: "the digest in bundle.json does not match the values from the packets"})
		case c.same && !moved && (i >= len(m.Columns) || m.Columns[i].Name != col.Name):
			moved = true // and so are those after it
			c.r.Add(Difference{Table: name, Column: col.Name, What: "bundle.json has it in another place"})
		}
		if sum, ok := digests[col.Name]; ok && sum != col.SHA256 {
			c.r.Add(Difference{Table: name, Column: col.Name, What: "the values in the files do not match the digest in bundle.json"})
		}
	}
	for _, col := range m.Columns {
		if _, left := made[col.Name]; left {
			c.r.Add(Difference{Table: name, Column: col.Name, What: "the packets produce it, but bundle.json lacks it"})
		}
	}
}
