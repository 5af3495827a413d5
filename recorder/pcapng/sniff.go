package pcapng

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"
)

// ErrNotCapture matches the *NotCaptureError that NewReader returns for anything that is
// neither pcap nor PCAPNG.
var ErrNotCapture = errors.New("not a capture file")

// ErrTooShort means that the file ends inside its header.
var ErrTooShort = errors.New("file ends inside its header")

// NotCaptureError describes a file that is not a capture.
type NotCaptureError struct{ Looks string }

func (e *NotCaptureError) Error() string {
	return "not a capture file: looks like " + e.Looks + ", but must be pcap or PCAPNG"
}

// Is makes errors.Is(err, ErrNotCapture) true.
func (e *NotCaptureError) Is(target error) bool { return target == ErrNotCapture }

var signatures = []struct{ magic, name string }{
	{"\x1f\x8b", "gzip"},
	{"\x28\xb5\x2f\xfd", "zstd"},
	{"\x04\x22\x4d\x18", "lz4"},
	{"\xfd7zXZ\x00", "xz"},
	{"BZh", "bzip2"},
	{"PK\x03\x04", "a zip archive"},
	{"7z\xbc\xaf\x27\x1c", "a 7z archive"},
	{"snoop\x00\x00\x00", "a Solaris snoop capture (convert it with editcap)"},
	{"RTSS", "a Microsoft Network Monitor 1 capture (convert it with editcap)"},
	{"GMBU", "a Microsoft Network Monitor 2 capture (convert it with editcap)"},
	{"TRSNIFF data", "a Sniffer capture (convert it with editcap)"},
	{"\x7fELF", "a program"},
	{"%PDF", "PDF"},
	{"SQLite format 3\x00", "an SQLite database"},
	{"PAR1", "Parquet"},
	{"version https://git-lfs.", "a Git LFS pointer (git lfs pull downloads the file itself)"},
	{"btsnoop\x00", "a Bluetooth snoop capture (convert it with editcap)"},
}

// looksLike names the type of a file by its first bytes.
func looksLike(head []byte) string {
	if len(head) == 0 {
		return "an empty file"
	}
	for _, s := range signatures {
		if bytes.HasPrefix(head, []byte(s.magic)) {
			return s.name
		}
	}
	if len(head) > 262 && string(head[257:262]) == "ustar" {
		return "a tar archive"
	}
	if isText(head) {
		return "text"
	}
	if len(bytes.Trim(head, "\x00")) == 0 {
		return "zero bytes"
	}
	return fmt.Sprintf("an unknown format that begins with % x", head[:min(8, len(head))])
}

func isText(head []byte) bool {
	for len(head) > 0 {
		c, n := utf8.DecodeRune(head)
		if c == utf8.RuneError && n == 1 {
			return len(head) < utf8.UTFMax && !utf8.FullRune(head)
		}
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' && c != '\f' && c != 0x1b {
			return false
		}
		head = head[n:]
	}
	return true
}

// Format is the file format of a capture.
type Format uint8

// Formats.
const (
	FormatPcap Format = iota + 1
	FormatPcapng
)

func (f Format) String() string {
	if f == FormatPcapng {
		return "pcapng"
	}
	return "pcap"
}

// sectionOrder determines the byte order of a section header from its byte-order magic.
func sectionOrder(magic []byte) (bigEndian, ok bool) {
	switch {
	case u32(magic, false) == 0x1A2B3C4D:
		return false, true
	case u32(magic, true) == 0x1A2B3C4D:
		return true, true
	}
	return false, false
}

// sniff reads just enough to detect the format, and keeps it for the first window.
func (r *Reader) sniff() error {
	head := make([]byte, 0, 512)
	head, err := r.readUpTo(head, 24)
	if err != nil {
		return err
	}
	if len(head) >= 4 && u32(head, true) == uint32(BlockSection) {
		if len(head) < 12 {
			return fmt.Errorf("reading section header: %w (%d bytes)", ErrTooShort, len(head))
		}
		be, ok := sectionOrder(head[8:])
		if !ok {
			return &NotCaptureError{fmt.Sprintf("PCAPNG with the invalid byte-order magic % x", head[8:12])}
		}
		r.format, r.be, r.carry = FormatPcapng, be, head
		return nil
	}
	if len(head) >= 4 {
		if rec, ok := recordFormatOf(head); ok {
			if len(head) < 24 {
				return fmt.Errorf("reading pcap file header: %w (%d of 24 bytes)", ErrTooShort, len(head))
			}
			r.format, r.carry = FormatPcap, head
			return r.startClassic(head, rec)
		}
	}
	if head, err = r.readUpTo(head, 512); err != nil {
		return err
	}
	return &NotCaptureError{looksLike(head)}
}

// readUpTo fills head to n bytes, or to the end of the stream.
func (r *Reader) readUpTo(head []byte, n int) ([]byte, error) {
	for idle := 0; len(head) < n && !r.eof; {
		k, err := r.src.Read(head[len(head):n])
		head = head[:len(head)+k]
		if idle = countIdle(idle, k); idle > maxIdle {
			r.endOfStream(errNoProgress)
		}
		if err != nil {
			r.endOfStream(err)
		}
	}
	if r.readErr != nil {
		return head, fmt.Errorf("reading the start of the capture: %w", r.readErr)
	}
	return head, nil
}
