package secrets

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
)

// Kinds of sources.
const (
	KeyLog = "key_log"
	RSAKey = "rsa_key"
)

// Limits of a store.
const (
	maxWrong   = 8         // invalid lines listed for a source
	maxSame    = 16        // values returned for one label of one identifier
	maxFound   = 256       // secrets returned for one identifier
	maxLooked  = 1024      // lines read for one identifier
	maxKeyFile = 1 << 20   // bytes of a file with an RSA key
	keepSize   = 256 << 10 // a smaller key log is kept in memory, so that its file need not stay open
	readSize   = 256 << 10
)

// SourceStats counts the content of one source.
type SourceStats struct {
	Name   string
	Kind   string
	SHA256 [sha256.Size]byte
	Bytes  int64

	Lines      int64
	Keys       int64 // valid lines, or RSA keys
	Duplicates int64 // of these, repetitions of an earlier line
	Conflicts  int64 // of these, with a different secret than an earlier line
	Wrong      int64 // lines that are neither a key nor a comment
	WrongLines []WrongLine
	Unfinished bool // the last line is incomplete
}

// WrongLine is a line that contains no key.
type WrongLine struct {
	Line int64 // from 1
	Why  string
}

// SourceError is a source that cannot be used.
type SourceError struct {
	Name string
	Err  error
}

// Error implements error.
func (e *SourceError) Error() string { return fmt.Sprintf("reading keys of %s: %v", e.Name, e.Err) }

// Unwrap returns the cause.
func (e *SourceError) Unwrap() error { return e.Err }

// Why a source cannot be used.
var (
	ErrNoKey     = errors.New("no key found")
	ErrEncrypted = errors.New("the file is encrypted")
	ErrCapture   = errors.New("the file is a capture, not a key log")
	ErrTooMany   = fmt.Errorf("more than %d keys", maxEntries)
)

// source is a key log. Its offsets are counted from base in those of all sources.
type source struct {
	r     io.ReaderAt
	base  int64
	size  int64
	stats int
}

// Store finds secrets. One goroutine fills it; after Ready, several may look up secrets. It
// keeps 16 bytes for each line and reads lines again when they are looked up, so sources must
// remain readable.
type Store struct {
	index   index
	sources []source
	keys    []*rsa.PrivateKey
	stats   []SourceStats
	end     int64 // of the offsets of all sources
	ready   bool
	files   []*os.File
	buf     []byte // read buffer
	line    []byte // buffer of a decoded line

	gone  atomic.Int64
	grown grown

	mu      sync.Mutex // guards the candidates
	randoms candidates
	masters candidates
}

// NewStore returns an empty store.
func NewStore() *Store { return &Store{index: newIndex()} }

// AddFile adds a key log or a file with RSA private keys, which it recognizes by the content.
// A large key log stays open until Close. A capture returns ErrCapture: a reader of captures
// must pass the secrets in it to AddLog.
func (s *Store) AddFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return &SourceError{path, err}
	}
	keep, err := s.addFile(path, f)
	if err != nil || !keep {
		err = errors.Join(err, f.Close())
	} else {
		s.files = append(s.files, f)
	}
	return err
}

func (s *Store) addFile(path string, f *os.File) (keep bool, err error) {
	info, err := f.Stat()
	if err != nil {
		return false, &SourceError{path, err}
	}
	if !info.Mode().IsRegular() {
		return false, &SourceError{path, errors.New("not a regular file")}
	}
	size := info.Size()
	head := make([]byte, min(size, maxKeyFile))
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return false, &SourceError{path, err}
	}
	head = head[:n]
	switch sniff(head) {
	case fileCapture:
		return false, &SourceError{path, ErrCapture}
	case fileSealed:
		return false, &SourceError{path, ErrEncrypted}
	case fileKey:
		if size > maxKeyFile {
			return false, &SourceError{path, fmt.Errorf("the private key has %d bytes; the maximum is %d", size, maxKeyFile)}
		}
		return false, s.AddKey(path, head)
	}
	if size <= keepSize && int64(len(head)) == size {
		return false, s.addLog(path, bytes.NewReader(head), size, true)
	}
	return true, s.addLog(path, f, size, true)
}

// Close closes the files that AddFile left open.
func (s *Store) Close() error {
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.Close())
	}
	s.files = nil
	return errors.Join(errs...)
}

// AddLog adds the first size bytes of r as a key log. They must not change while the store is
// used. Lines without a key are counted and are not an error.
func (s *Store) AddLog(name string, r io.ReaderAt, size int64) error {
	return s.addLog(name, r, size, false)
}

func (s *Store) addLog(name string, r io.ReaderAt, size int64, strict bool) error {
	if s.ready {
		return &SourceError{name, errors.New("the store is already in use")}
	}
	if size < 0 || size >= maxPlace-s.end {
		return &SourceError{name, fmt.Errorf("%d bytes; the maximum of all sources is %d", size, int64(maxPlace))}
	}
	if s.buf == nil {
		s.buf, s.line = make([]byte, readSize), make([]byte, maxLine/2)
	}
	in := logReader{r: r, size: size, buf: s.buf, sum: sha256.New()}
	st := SourceStats{Name: name, Kind: KeyLog, Bytes: size}
	for in.next() {
		st.Lines++
		var secret Secret
		ok, err := false, errLong
		if !in.long {
			secret, ok, err = parseLine(in.line, s.line)
		}
		switch {
		case ok:
			if s.index.entries >= maxEntries {
				return &SourceError{name, ErrTooMany}
			}
			st.Keys++
			s.index.add(&secret, s.end+in.at)
		case err != nil && in.last && !in.long && begins(in.line):
			st.Unfinished = true
		case err != nil:
			if st.Wrong++; st.Wrong <= maxWrong {
				st.WrongLines = append(st.WrongLines, WrongLine{st.Lines, err.Error()})
			}
		}
	}
	if in.err != nil {
		return &SourceError{name, in.err}
	}
	if strict && st.Keys == 0 && st.Wrong > 0 {
		return &SourceError{name, fmt.Errorf("%w: line %d: %s", ErrNoKey, st.WrongLines[0].Line, st.WrongLines[0].Why)}
	}
	in.sum.Sum(st.SHA256[:0])
	s.sources = append(s.sources, source{r, s.end, size, len(s.stats)})
	s.stats = append(s.stats, st)
	s.end += size
	return nil
}

// Ready ends filling the store. Adding a source later is an error.
func (s *Store) Ready() error {
	if s.ready {
		return nil
	}
	s.ready, s.buf, s.line = true, nil, nil
	s.index.finish(
		func(at int64) { s.stats[s.sourceAt(at).stats].Duplicates++ },
		func(at int64) { s.stats[s.sourceAt(at).stats].Conflicts++ },
	)
	return nil
}

// Empty reports whether no key was found in any source.
func (s *Store) Empty() bool {
	return s == nil || s.index.entries == 0 && len(s.keys) == 0 && !s.grown.any.Load()
}

// Stats returns the counters of all sources in the order of adding.
func (s *Store) Stats() []SourceStats { return s.stats }

// Gone counts lines that had changed when they were looked up: the source was modified or
// truncated in the meantime.
func (s *Store) Gone() int64 { return s.gone.Load() }

func (s *Store) sourceAt(at int64) *source {
	return &s.sources[sort.Search(len(s.sources), func(i int) bool { return s.sources[i].base > at })-1]
}

// Find returns all secrets of a client random, in the order of the sources and of their
// lines. If lines contradict each other all are returned, up to 16 with one label.
func (s *Store) Find(clientRandom []byte) []Secret { return s.find(byRandom, clientRandom) }

// FindSession returns the master secrets of a session id.
func (s *Store) FindSession(id []byte) []Secret { return s.find(bySession, id) }

func (s *Store) find(kind byte, id []byte) []Secret {
	if s == nil || !s.ready || len(id) == 0 {
		return nil
	}
	found := slices.Clip(s.grown.find(kind, id))
	if s.index.entries == 0 {
		return found
	}
	var same [1 << labelBits]uint8
	looked := 0
	var buf []byte
	s.index.find(kind, id, func(e entry) bool {
		if looked++; looked > maxLooked || len(found) == maxFound {
			return false
		}
		if same[e.code()] == maxSame {
			return true
		}
		var x Secret
		var ok bool
		if x, buf, ok = s.read(e, buf); !ok {
			s.gone.Add(1)
		}
		if ok && kindOf(x.Label) == kind && bytes.Equal(x.ID, id) {
			found = append(found, x)
			same[e.code()]++
		}
		return true
	})
	return found
}

// read reads the line of an entry again. False means that it has changed.
func (s *Store) read(e entry, buf []byte) (Secret, []byte, bool) {
	src := s.sourceAt(e.at())
	at := e.at() - src.base
	if buf == nil {
		buf = make([]byte, 512)
	}
	for {
		b := buf[:min(int64(len(buf)), src.size-at)]
		n, err := src.r.ReadAt(b, at)
		if err != nil && err != io.EOF {
			return Secret{}, buf, false
		}
		end := lineEnd(b[:n])
		if end < 0 && n == len(b) && int64(n) < src.size-at && n < maxLine {
			buf = make([]byte, min(8*len(buf), maxLine))
			continue
		}
		if end < 0 {
			end = n
		}
		x, ok, _ := parseLine(b[:end], make([]byte, end/2))
		x.Source = src.stats
		return x, buf, ok && x.code() == uint64(e.code())
	}
}

// Lines returns the lines of a key log for a client random, in the order of
// Find.
func (s *Store) Lines(clientRandom []byte) []string {
	var lines []string
	for _, x := range s.Find(clientRandom) {
		lines = append(lines, x.Line())
	}
	return lines
}
