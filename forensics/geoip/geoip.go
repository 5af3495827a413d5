// Package geoip says where outside addresses are, in the words of files that the user has.
//
// It reads files in MaxMind's format: those of MaxMind, DB-IP, IPinfo and others with countries, with
// networks (ASN), or both. What a file says was measured or bought by others, and for another day than
// that of the traffic, so every statement comes with the file's name, date and hash.
package geoip

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of files.
const (
	maxFiles = 10
	maxFile  = 1 << 30 // bytes
	maxText  = 100     // bytes of a name
)

// Place is what files say about an address.
type Place struct {
	Country  string // code of ISO 3166-1, such as DE
	ASN      uint32 // number of the autonomous system
	Operator string // its name
}

// File identifies a file.
type File struct {
	Name   string
	SHA256 string
	Type   string // as the file calls itself
	Date   string // of the file, UTC
	db     *maxminddb.Reader
}

// Set is the files of a case. It is safe for concurrent use.
type Set struct{ Files []File }

// Error is a file that is not in MaxMind's format, or damaged.
type Error struct {
	File string
	Err  error
}

// Error names the file.
func (e *Error) Error() string {
	return fmt.Sprintf("reading %s: %v: it must be a database in MaxMind's format (.mmdb)", e.File, e.Err)
}

// Unwrap returns the problem.
func (e *Error) Unwrap() error { return e.Err }

// Read reads files. Its errors are those of the file system, or *Error.
func Read(paths []string) (*Set, error) {
	if len(paths) > maxFiles {
		return nil, fmt.Errorf("reading GeoIP files: at most %d are read, not %d", maxFiles, len(paths))
	}
	s := &Set{}
	for _, p := range paths {
		data, err := read(p)
		if err != nil {
			return nil, fmt.Errorf("reading a GeoIP file: %w", err)
		}
		// The bytes are in memory: another program can shorten a mapped file, which would end this one.
		db, err := maxminddb.OpenBytes(data)
		if err != nil {
			return nil, &Error{p, err}
		}
		sum := sha256.Sum256(data)
		s.Files = append(s.Files, File{Name: clip.Line([]byte(filepath.Base(p)), maxText), SHA256: hex.EncodeToString(sum[:]), Type: clip.Line([]byte(db.Metadata.DatabaseType), maxText), Date: time.Unix(int64(min(db.Metadata.BuildEpoch, 1<<40)), 0).UTC().Format(time.DateOnly), db: db})
	}
	return s, nil
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return data, err
}

// Find returns what the files say about an address; the first file that says something counts.
func (s *Set) Find(a netip.Addr) (p Place, found bool) {
	for _, f := range s.Files {
		r := f.db.Lookup(a)
		var m map[string]any
		if !r.Found() || r.Decode(&m) != nil { // a damaged record says nothing
			continue
		}
		p.Country = cmp.Or(p.Country, country(m))
		if p.ASN == 0 && p.Operator == "" {
			p.ASN = number(m["autonomous_system_number"], m["asn"])
			p.Operator = text(m["autonomous_system_organization"], m["as_name"], m["as_org"], m["name"])
		}
	}
	return p, p != Place{}
}

// country is the code of the country in a record. It may be a map, a code, or beside a name.
func country(m map[string]any) string {
	for _, key := range []string{"country", "registered_country"} {
		if inner, ok := m[key].(map[string]any); ok {
			if code := text(inner["iso_code"]); code != "" {
				return code
			}
		}
	}
	if code := text(m["country_code"], m["country"]); len(code) == 2 {
		return code
	}
	return ""
}

func text(list ...any) string {
	for _, v := range list {
		if s, ok := v.(string); ok && s != "" {
			return clip.Line([]byte(s), maxText)
		}
	}
	return ""
}

func number(list ...any) uint32 {
	for _, v := range list {
		switch x := v.(type) {
		case uint64:
			if x < 1<<32 {
				return uint32(x)
			}
		case string: // AS3320
			if n, err := strconv.ParseUint(strings.TrimPrefix(x, "AS"), 10, 32); err == nil {
				return uint32(n)
			}
		}
	}
	return 0
}
