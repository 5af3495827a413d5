package cli

import (
	"archive/zip"
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/cli/console"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/internal/clip"
	"github.com/pcapsule/pcapsule/internal/plural"
)

// Limits of a zip archive.
const (
	maxZipFiles = 10_000
	zipRatio    = 1032 // the most that deflate can shrink
)

// unzipped are the captures in zip archives, in a temporary folder.
type unzipped struct {
	dir   string // empty if there is no archive
	notes []string
}

// unzip replaces zip archives in paths by the captures in them, which it writes to a hidden folder beside the output.
// Names in the archive cannot leave this folder.
func (e *env) unzip(ctx context.Context, paths []string, output string) (out []string, u *unzipped, err error) {
	u = &unzipped{}
	defer func() {
		if err != nil {
			u.remove()
		}
	}()
	for _, p := range paths {
		if info, err := os.Stat(p); err != nil || !info.Mode().IsRegular() || !isZIP(p) {
			out = append(out, p)
			continue
		}
		if u.dir == "" {
			if u.dir, err = os.MkdirTemp(filepath.Dir(output), ".pcapsule-unzip-"); err != nil {
				return nil, u, exit.OutputError(err, output)
			}
		}
		list, left, err := u.unpack(ctx, p, len(u.notes))
		if err != nil {
			return nil, u, err
		}
		if len(left) > 0 {
			e.Warn("%s: left out %s other than captures: %s", p, plural.Count(int64(len(left)), "file", "files"), console.Printable(strings.Join(left[:min(3, len(left))], ", "), 200))
		}
		out = append(out, list...)
	}
	return out, u, nil
}

// remove removes the folder.
func (u *unzipped) remove() {
	if u.dir != "" {
		os.RemoveAll(u.dir)
	}
}

// unpack writes the captures of one archive. left are the names of other files in it.
func (u *unzipped) unpack(ctx context.Context, archive string, number int) (list, left []string, err error) {
	f, err := os.Open(archive)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close() // read-only
	h := sha256.New()
	size, err := io.Copy(h, f)
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", archive, err)
	}
	z, err := zip.NewReader(f, size)
	if err != nil {
		return nil, nil, exit.With(fmt.Errorf("reading %s: %w", archive, err), exit.Damaged, "get the archive again; its end may be missing")
	}
	if len(z.File) > maxZipFiles {
		return nil, nil, exit.With(errors.New(plural.Sprintf("%s contains %d {file|files}, the limit is %d", archive, len(z.File), maxZipFiles)), exit.Limit, "unpack it, and give the folder")
	}
	room := size*zipRatio + 1<<20 // archives whose entries share their bytes have more
	for _, entry := range z.File {
		if path.Base(entry.Name) == "bagit.txt" {
			return nil, nil, exit.With(fmt.Errorf("%s is a bundle, not captures", archive), exit.Usage, "pcapsule info and other commands read it as it is; merge rebuilds it")
		}
	}
	for i, entry := range z.File {
		if !entry.Mode().IsRegular() || hiddenEntry(entry.Name) {
			continue
		}
		if entry.Flags&1 != 0 {
			return nil, nil, exit.With(fmt.Errorf("%s: %s is encrypted", archive, console.Printable(entry.Name, 100)), exit.NotCapture, "unpack it with its password, and give the folder")
		}
		dir := filepath.Join(u.dir, strconv.Itoa(number)+"-"+strconv.Itoa(i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, nil, err
		}
		name := filepath.Join(dir, entryName(entry.Name))
		n, err := unpackEntry(ctx, entry, name, room)
		if err != nil {
			return nil, nil, fmt.Errorf("unpacking %s: %s: %w", archive, console.Printable(entry.Name, 100), err)
		}
		room -= n
		if !isCapture(name) {
			left = append(left, entry.Name)
			if err := os.RemoveAll(dir); err != nil {
				return nil, nil, err
			}
			continue
		}
		list = append(list, name)
	}
	if len(list) == 0 {
		return nil, nil, exit.With(fmt.Errorf("%s contains no capture", archive), exit.NotCapture, "pcapsule reads pcap and pcapng files, also packed with gzip or zstd")
	}
	u.notes = append(u.notes, fmt.Sprintf("unpacked from %s, SHA-256 %s", clip.Text(filepath.Base(archive), 100), hex.EncodeToString(h.Sum(nil))))
	return list, left, nil
}

// unpackEntry writes one file of an archive, of at most room bytes.
func unpackEntry(ctx context.Context, entry *zip.File, name string, room int64) (int64, error) {
	r, err := entry.Open()
	if err != nil {
		return 0, exit.With(err, exit.NotCapture, "unpack it with another program, and give the folder")
	}
	defer r.Close() // read-only
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	var corrupt flate.CorruptInputError
	n, err := io.Copy(f, io.LimitReader(&stoppable{ctx, r}, room+1))
	switch cerr := f.Close(); {
	case ctx.Err() != nil:
		return n, ctx.Err()
	case errors.Is(err, zip.ErrChecksum), errors.Is(err, zip.ErrFormat), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &corrupt):
		return n, exit.With(err, exit.Damaged, "get the archive again; it is damaged")
	case err != nil:
		return n, exit.OutputError(err, name)
	case cerr != nil:
		return n, cerr
	case n > room:
		return n, exit.With(errors.New("the archive unpacks to more than any honest archive of its size"), exit.Limit, "unpack it with another program, and give the folder")
	}
	return n, nil
}

// stoppable reads until ctx ends.
type stoppable struct {
	ctx context.Context
	r   io.Reader
}

func (s *stoppable) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

// hiddenEntry reports whether an entry is one that systems add, or a hidden file.
func hiddenEntry(name string) bool {
	return strings.HasPrefix(name, "__MACOSX/") || strings.HasPrefix(path.Base(strings.ReplaceAll(name, `\`, "/")), ".")
}

// entryName is the last part of an entry's name, as a file can have it.
func entryName(name string) string {
	name = path.Base(strings.ReplaceAll(name, `\`, "/"))
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || strings.ContainsRune(`/\:*?"<>|`, r) {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
	if name = clip.Cut(name, 120); strings.Trim(name, ". ") == "" {
		return "capture"
	}
	return name
}
