// Package mailhead reads the header fields that identify a mail (RFC 5322) from the beginning of
// its content.
package mailhead

import (
	"bufio"
	"bytes"
	"mime"
	"net/textproto"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of a head.
const (
	maxHead = 32 << 10 // bytes of headers that are examined
	maxText = 512      // bytes shown of a field
)

// Head has the fields, decoded (RFC 2047). Those that the content lacks are null.
type Head struct {
	MessageID, Subject, From, To table.Opt[string]

	kept []byte
	over bool
}

// Write adds content. Only bytes up to the end of the headers are kept.
func (h *Head) Write(b []byte) {
	if h.over {
		return
	}
	h.kept = append(h.kept, b[:min(len(b), maxHead-len(h.kept))]...)
	tail := h.kept[max(0, len(h.kept)-len(b)-3):]
	if len(h.kept) == maxHead || bytes.Contains(tail, []byte("\n\r\n")) || bytes.Contains(tail, []byte("\n\n")) {
		h.End()
	}
}

// Kept is the memory of headers without an end, in bytes.
func (h *Head) Kept() int { return cap(h.kept) }

// End reads the headers that were written so far; more are not read.
func (h *Head) End() {
	if h.over {
		return
	}
	// The fields before a damaged line, or before the end of the bytes, are read in spite of the error.
	fields, _ := textproto.NewReader(bufio.NewReader(bytes.NewReader(h.kept))).ReadMIMEHeader()
	h.kept, h.over = nil, true
	h.MessageID = table.NonEmpty(strings.Trim(text(fields, "Message-Id"), "<>"))
	h.Subject, h.From, h.To = table.NonEmpty(text(fields, "Subject")), table.NonEmpty(text(fields, "From")), table.NonEmpty(text(fields, "To"))
}

func text(fields textproto.MIMEHeader, name string) string {
	s := fields.Get(name)
	if decoded, err := new(mime.WordDecoder).DecodeHeader(s); err == nil {
		s = decoded
	}
	return clip.Line([]byte(s), maxText)
}

// Files marks the bodies of a call as mails. part reports whether only their beginning was
// requested.
func Files(x *dissect.Exchange, subject table.Opt[string], part bool) {
	for _, b := range [...]*dissect.Body{x.ReqBody, x.RespBody} {
		if b == nil {
			continue
		}
		b.File = &dissect.File{Name: subject.V}
		if subject.V != "" {
			b.File.NamedBy = "subject"
		}
		if part {
			b.File.Offset = table.Some(int64(0))
		}
	}
}
