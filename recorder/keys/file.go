package keys

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"filippo.io/age"
	"filippo.io/age/agessh"

	"github.com/pcapsule/pcapsule/internal/when"
)

// fileHead is the first line of each key file, docs/format/segment-keys.md.
const fileHead = "# keys read while a segment was written, RFC 9850 (pcapsule segment keys 1)\n"

// File is the key file of one segment: lines of RFC 9850, each group of them after a
// comment that says when and from which process they were read. It implements Sink, and is
// safe for concurrent use.
type File struct {
	mu   sync.Mutex
	f    *os.File
	seal io.WriteCloser // age; nil if the file is not encrypted
	last origin
	torn bool // the last line is incomplete
	n    uint64
	err  error // of the encryption, which cannot continue after an error
}

// origin is the content of a comment.
type origin struct {
	pid, tid uint32
	second   int64
	exe      string
}

// Open creates a segment's key file, which only its owner may read, or appends to an
// unencrypted one. With recipients the file is one age file that Close completes. It cannot
// be appended to, so an existing file is an error (os.ErrExist).
func Open(path string, recipients ...age.Recipient) (*File, error) {
	flags := os.O_CREATE | os.O_RDWR | os.O_APPEND
	if len(recipients) > 0 {
		flags |= os.O_EXCL
	}
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the key file: %w", err)
	}
	k := &File{f: f}
	if err := k.begin(recipients); err != nil {
		f.Close()
		return nil, fmt.Errorf("opening the key file %s: %w", path, err)
	}
	return k, nil
}

func (k *File) begin(recipients []age.Recipient) error {
	st, err := k.f.Stat()
	if err != nil {
		return err
	}
	if st.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("other users can read it (mode %v): run chmod 600", st.Mode().Perm())
	}
	if size := st.Size(); size > 0 {
		var last [1]byte
		if _, err := k.f.ReadAt(last[:], size-1); err != nil {
			return err
		}
		k.torn = last[0] != '\n'
		return nil
	}
	if len(recipients) > 0 {
		if k.seal, err = age.Encrypt(k.f, recipients...); err != nil {
			return err
		}
	}
	if err := k.write([]byte(fileHead)); err != nil {
		return err
	}
	// The name must also survive a power cut.
	d, err := os.Open(filepath.Dir(k.f.Name()))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (k *File) write(b []byte) error {
	if k.seal != nil {
		if k.err == nil {
			_, k.err = k.seal.Write(b)
		}
		return k.err
	}
	if k.torn {
		b = append([]byte{'\n'}, b...)
	}
	n, err := k.f.Write(b)
	if err != nil {
		// An incomplete line must not merge with the next one.
		k.torn = k.torn && n == 0 || n > 0 && b[n-1] != '\n'
		return err
	}
	k.torn = false
	return nil
}

// Key implements Sink: it appends the key's line. An unencrypted line has been passed to the
// operating system when Key returns, an encrypted one when 64 KiB are full or at Close.
func (k *File) Key(key Key) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.f == nil {
		return os.ErrClosed
	}
	var b bytes.Buffer
	o := origin{key.PID, key.TID, key.Time / 1e9, key.Executable}
	if o != k.last {
		fmt.Fprintf(&b, "# %s pid %d tid %d %s %s\n", when.Stamp(key.Time), key.PID, key.TID, key.Library, quote(key.Executable))
	}
	b.WriteString(key.Line())
	b.WriteByte('\n')
	if err := k.write(b.Bytes()); err != nil {
		k.last = origin{}
		return fmt.Errorf("writing a key: %w", err)
	}
	k.last = o
	k.n++
	return nil
}

// quote keeps a file name, which anyone may choose, on one line of plain text.
func quote(s string) string {
	const most = 512
	return strconv.QuoteToASCII(s[:min(len(s), most)])
}

// Flush implements Sink: everything written is on disk afterwards.
func (k *File) Flush() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.f == nil {
		return nil
	}
	if err := k.f.Sync(); err != nil {
		return fmt.Errorf("syncing keys: %w", err)
	}
	return nil
}

// Keys is the number of keys written.
func (k *File) Keys() uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.n
}

// Close completes the file and syncs it. Closing again does nothing.
func (k *File) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.f == nil {
		return nil
	}
	var err error
	if k.seal != nil {
		err = k.seal.Close()
	}
	err = errors.Join(err, k.f.Sync(), k.f.Close())
	k.f = nil
	if err != nil {
		return fmt.Errorf("closing the key file: %w", err)
	}
	return nil
}

// Recipients parses an age recipient (age1… or an SSH public key), or reads a file with one on
// each line.
func Recipients(text string) ([]age.Recipient, error) {
	list, err := recipients(text)
	if err == nil && len(list) == 0 {
		err = errors.New("the file has no recipient")
	}
	return list, err
}

func recipients(text string) ([]age.Recipient, error) {
	const longest = 1 << 20
	if !strings.HasPrefix(text, "age1") && !strings.HasPrefix(text, "ssh-") {
		info, err := os.Stat(text)
		if err != nil {
			return nil, err
		}
		if info.Size() > longest {
			return nil, errors.New("the file is larger than 1 MiB")
		}
		b, err := os.ReadFile(text)
		if err != nil {
			return nil, err
		}
		text = strings.TrimSpace(string(b))
	}
	if strings.HasPrefix(text, "ssh-") {
		r, err := agessh.ParseRecipient(text)
		if err != nil {
			return nil, err
		}
		return []age.Recipient{r}, nil
	}
	return age.ParseRecipients(strings.NewReader(text))
}
