package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// partFolder holds unfinished files, named by their hashes.
const partFolder = ".part"

// AlteredError is a file whose bytes are not those of the listing.
type AlteredError struct {
	Name, Want, Got string // hashes; Got is "" if the sender says that it has another file
}

func (e *AlteredError) Error() string {
	if e.Got == "" {
		return fmt.Sprintf("%s was altered: the sender no longer has the file with SHA-256 %s", e.Name, e.Want)
	}
	return fmt.Sprintf("%s was altered: it has SHA-256 %s, but %s is listed", e.Name, e.Got, e.Want)
}

// AlteredErrors are all altered files of a listing.
type AlteredErrors []*AlteredError

func (e AlteredErrors) Error() string {
	if len(e) == 1 {
		return e[0].Error()
	}
	return fmt.Sprintf("%d files were altered; the first: %v", len(e), e[0])
}

// StatusError is an HTTP response without a file.
type StatusError struct {
	Code int
	Text string // first line of the body
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("the server answered %d %s: %s", e.Code, http.StatusText(e.Code), e.Text)
}

// ErrFinal is wrapped by the errors of a Source that a retry would not resolve.
var ErrFinal = errors.New("no use in trying again")

// Source provides files.
type Source interface {
	// Open returns the bytes of a file from offset at. It returns *AlteredError if the source has
	// another file of this name, an error that wraps ErrFinal, or a temporary error.
	Open(ctx context.Context, f File, at int64) (io.ReadCloser, error)
}

// Web is a Source that gets each file by HTTP from below an address.
type Web struct {
	Base   *url.URL
	Client *http.Client
	Header http.Header // of each request
}

// Open implements Source.
func (w Web) Open(ctx context.Context, f File, at int64) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address(w.Base, f.Name), nil)
	if err != nil {
		return nil, err
	}
	for name, values := range w.Header {
		req.Header[name] = values
	}
	req.Header.Set("If-Match", `"`+f.SHA256+`"`)
	req.Header.Set("Accept-Encoding", "identity")
	if at > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", at))
	}
	resp, err := w.Client.Do(req)
	if err != nil {
		return nil, err
	}
	if err := accept(resp, f, at); err != nil {
		resp.Body.Close() // read-only, so an error cannot lose data
		return nil, err
	}
	return resp.Body, nil
}

// Fetcher receives files.
type Fetcher struct {
	Tries    int           // attempts that bring no byte before it gives up; 0 means 5
	Pause    time.Duration // between attempts; 0 means 1 s
	Idle     time.Duration // a connection without a byte for so long is cut; 0 means 30 s
	Progress func(n int64) // called with the number of bytes that arrived or were already there; may be nil
	NoSync   bool          // the files need not survive a crash of the machine
}

// Fetch receives the listed files in their order into the folder dir, which must exist. What an earlier call left there is continued: finished files are kept, unfinished ones are
// in a hidden folder, which is removed at the end. Files that were altered are left out, and
// AlteredErrors are returned after the others were received. Other errors are those of the source
// or the disk.
func (c *Fetcher) Fetch(ctx context.Context, from Source, list []File, dir string) error {
	if err := Check(list); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("receiving files: %w", err)
	}
	defer root.Close()
	if err := root.Mkdir(partFolder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("receiving files: %w", err)
	}
	var altered AlteredErrors
	for _, f := range list {
		var one *AlteredError
		err := c.file(ctx, root, from, f)
		if errors.As(err, &one) {
			altered = append(altered, one)
		} else if err != nil {
			return fmt.Errorf("receiving %s: %w", f.Name, err)
		}
	}
	if err := root.RemoveAll(partFolder); err != nil {
		return fmt.Errorf("receiving files: %w", err)
	}
	if len(altered) > 0 {
		return altered
	}
	return nil
}

// file receives one file, in as many attempts as bring more of it.
func (c *Fetcher) file(ctx context.Context, root *os.Root, from Source, f File) error {
	name := filepath.FromSlash(f.Name)
	if info, err := root.Lstat(name); err == nil && info.Mode().IsRegular() && info.Size() == f.Size {
		c.progress(f.Size) // it got its name after its hash was checked
		return nil
	}
	p, err := openPart(root, f)
	if err != nil {
		return err
	}
	defer p.Close()
	c.progress(p.size)
	for idle := 0; p.size < f.Size; {
		had := p.size
		err := c.attempt(ctx, from, f, p)
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if idle++; p.size > had {
			idle = 0
		}
		if idle >= c.tries() || !again(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(c.pause()):
		}
	}
	if !c.NoSync {
		if err := p.Sync(); err != nil {
			return err
		}
	}
	if err := p.Close(); err != nil { // Windows neither renames nor removes an open file
		return err
	}
	if sum := hex.EncodeToString(p.hash.Sum(nil)); sum != f.SHA256 {
		return errors.Join(&AlteredError{f.Name, f.SHA256, sum}, root.Remove(partName(f)))
	}
	if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return root.Rename(partName(f), name)
}

// again reports whether another attempt may succeed.
func again(err error) bool {
	var status *StatusError
	var altered *AlteredError
	var disk *fs.PathError
	switch {
	case errors.As(err, &altered), errors.As(err, &disk), errors.Is(err, ErrFinal):
		return false
	case errors.As(err, &status):
		return status.Code >= 500 || status.Code == http.StatusTooManyRequests
	}
	return true
}

// part is an unfinished file.
type part struct {
	*os.File
	size int64
	hash hash.Hash
}

func partName(f File) string { return filepath.Join(partFolder, f.SHA256) }

// openPart opens the part of a file that was received, and hashes it.
func openPart(root *os.Root, f File) (*part, error) {
	file, err := root.OpenFile(partName(f), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	p := &part{File: file, hash: sha256.New()}
	if p.size, err = io.Copy(p.hash, file); err == nil && p.size > f.Size {
		p.hash.Reset()
		p.size = 0
		_, err = file.Seek(0, io.SeekStart)
		err = errors.Join(err, file.Truncate(0))
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return p, nil
}

// attempt asks for the rest of a file.
func (c *Fetcher) attempt(ctx context.Context, from Source, f File, p *part) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(c.idle(), func() { cancel(fmt.Errorf("no byte arrived for %s", c.idle())) })
	defer stalled.Stop()
	body, err := from.Open(ctx, f, p.size)
	if err != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	defer body.Close()
	if err := c.copy(p, body, f.Size, func() { stalled.Reset(c.idle()) }); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	return nil
}

// address is where a file is below base.
func address(base *url.URL, name string) string {
	parts := strings.Split(name, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return base.JoinPath(parts...).String()
}

// accept checks that a response has the rest of the file from byte at on.
func accept(resp *http.Response, f File, at int64) error {
	want := fmt.Sprintf("bytes %d-%d/%d", at, f.Size-1, f.Size)
	switch {
	case resp.StatusCode == http.StatusPreconditionFailed:
		return &AlteredError{Name: f.Name, Want: f.SHA256}
	case at == 0 && resp.StatusCode == http.StatusOK:
	case at > 0 && resp.StatusCode == http.StatusPartialContent && resp.Header.Get("Content-Range") == want:
	default:
		return failed(resp)
	}
	if tag := resp.Header.Get("ETag"); tag != `"`+f.SHA256+`"` {
		return &AlteredError{Name: f.Name, Want: f.SHA256}
	}
	return nil
}

// copy appends a response's body to the part.
func (c *Fetcher) copy(p *part, body io.Reader, size int64, alive func()) error {
	buf := make([]byte, 256<<10)
	for {
		n, err := body.Read(buf)
		alive()
		if int64(n) > size-p.size {
			return fmt.Errorf("the server sent more than the %d bytes that it listed", size)
		}
		if n > 0 {
			if _, err := p.Write(buf[:n]); err != nil {
				// What was written of it is not in the hash.
				_, seekErr := p.Seek(p.size, io.SeekStart)
				return errors.Join(err, seekErr, p.Truncate(p.size))
			}
			p.hash.Write(buf[:n])
			p.size += int64(n)
			c.progress(int64(n))
		}
		switch {
		case err == io.EOF && p.size < size:
			return io.ErrUnexpectedEOF
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// failed is the error of a response without a file.
func failed(resp *http.Response) error {
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 512)) // only to explain
	line, _, _ := strings.Cut(strings.TrimSpace(string(text)), "\n")
	return &StatusError{resp.StatusCode, line}
}

func (c *Fetcher) progress(n int64) {
	if c.Progress != nil && n > 0 {
		c.Progress(n)
	}
}

func (c *Fetcher) tries() int {
	if c.Tries == 0 {
		return 5
	}
	return c.Tries
}

func (c *Fetcher) pause() time.Duration {
	if c.Pause == 0 {
		return time.Second
	}
	return c.Pause
}

func (c *Fetcher) idle() time.Duration {
	if c.Idle == 0 {
		return 30 * time.Second
	}
	return c.Idle
}

// Find returns the entry of a listing with a name.
func Find(list []File, name string) (File, bool) {
	for _, f := range list {
		if f.Name == name {
			return f, true
		}
	}
	return File{}, false
}
