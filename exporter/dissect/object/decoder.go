package object

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"
)

// errDecoding reports bytes that the transfer encoding does not allow.
var errDecoding = errors.New("the bytes are not what the transfer encoding allows")

// NewDecoder returns a writer that decodes a transfer encoding of MIME (RFC 2045 section 6) into w. If it
// is an io.Closer, Close writes the rest and reports bytes that the encoding does not allow.
func NewDecoder(transfer string, w io.Writer) io.Writer {
	switch transfer {
	case "base64":
		return &unbase64{to: w}
	case "quoted-printable":
		return &unquoted{to: w}
	}
	return w
}

// transferOf is the encoding that a header names; "" if nothing must be decoded.
func transferOf(header string) string {
	switch s := strings.ToLower(strings.TrimSpace(header)); s {
	case "base64", "quoted-printable":
		return s
	}
	return ""
}

// unbase64 decodes base64. It skips characters outside the alphabet, as RFC 2045 section 6.8
// requires, and ends at the padding.
type unbase64 struct {
	to    io.Writer
	kept  []byte // fewer than 4 characters
	ended bool
	err   error
}

func (d *unbase64) Write(p []byte) (int, error) {
	b := d.kept
	for _, c := range p {
		switch {
		case d.ended:
		case c == '=':
			d.ended = true
		case c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/':
			b = append(b, c)
		case c != '\r' && c != '\n' && c != ' ' && c != '\t':
			d.err = errDecoding
		}
	}
	n := len(b)
	if n -= n % 4; d.ended {
		n = len(b)
		if n%4 == 1 {
			n--
			d.err = errDecoding
		}
	}
	out, err := base64.RawStdEncoding.DecodeString(string(b[:n]))
	if err != nil {
		d.err = errDecoding
	}
	d.kept = append(d.kept[:0], b[n:]...)
	if _, err := d.to.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close decodes the last characters if the padding is missing.
func (d *unbase64) Close() error {
	if len(d.kept) > 0 {
		d.ended = true
		if _, err := d.Write(nil); err != nil {
			return err
		}
	}
	return d.err
}

// maxQuoted is how much of a line without an end is kept.
const maxQuoted = 1 << 10

// unquoted decodes quoted-printable line by line.
type unquoted struct {
	to   io.Writer
	kept []byte // the beginning of a line
	err  error
}

func (d *unquoted) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n') + 1
		if i == 0 {
			d.kept = append(d.kept, p...)
			if len(d.kept) > maxQuoted { // the rest of the line follows; an escape may be cut
				at := len(d.kept)
				if j := bytes.LastIndexByte(d.kept[at-3:], '='); j >= 0 {
					at += j - 3
				}
				if err := d.put(d.kept[:at]); err != nil {
					return 0, err
				}
				d.kept = append(d.kept[:0], d.kept[at:]...)
			}
			break
		}
		line := p[:i]
		if len(d.kept) > 0 {
			line = append(d.kept, line...)
		}
		if err := d.line(line); err != nil {
			return 0, err
		}
		d.kept, p = d.kept[:0], p[i:]
	}
	return n, nil
}

// line decodes a whole line: spaces before its end were added on the way.
func (d *unquoted) line(b []byte) error {
	content := bytes.TrimRight(b, "\r\n")
	end := b[len(content):]
	content = bytes.TrimRight(content, " \t")
	if soft, ok := bytes.CutSuffix(content, []byte("=")); ok {
		content, end = soft, nil
	}
	return d.put(content, end...)
}

func (d *unquoted) put(b []byte, end ...byte) error {
	out := make([]byte, 0, len(b)+len(end))
	for i := 0; i < len(b); i++ {
		if b[i] != '=' {
			out = append(out, b[i])
			continue
		}
		if high, low := digit(b, i+1), digit(b, i+2); high >= 0 && low >= 0 {
			out = append(out, byte(high<<4|low))
			i += 2
			continue
		}
		d.err = errDecoding
		out = append(out, '=')
	}
	_, err := d.to.Write(append(out, end...))
	return err
}

// digit is the value of a hexadecimal digit, or -1.
func digit(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch c := b[i]; {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

// Close decodes the last line.
func (d *unquoted) Close() error {
	if len(d.kept) > 0 {
		if err := d.line(d.kept); err != nil {
			return err
		}
	}
	return d.err
}
