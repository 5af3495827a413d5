// Package object finds files in message bodies: the parts of MIME messages (RFC 2045, 2046, 5322)
// and of forms (RFC 7578), with their names, types, sizes and hashes.
//
// A Scanner reads a body once, in pieces of any size, and keeps no content. It guarantees that a
// File can be made again from the body: by its offset and size there and its transfer encoding.
// Parts that it cannot read are left out; nested messages, parts and names have limits.
// docs/design/029-files.md has the rules.
package object

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
	"mime"
	"strings"

	"github.com/gabriel-vasile/mimetype"
)

// Limits of one file.
const (
	HeadSize = 3 << 10 // bytes by which the type is detected

	// MaxName and MaxType are the longest texts of a row. A File has at most one byte more of each, as
	// sent.
	MaxName, MaxType = 1 << 10, 256
)

// Values of column why.
const (
	Gap      = "gap"      // bytes were not captured
	Cut      = "cut"      // the message ended before its end
	Range    = "range"    // only a part of the file was requested
	Limit    = "limit"    // it is too large for its parts to be listed
	Decoding = "decoding" // the bytes are not what the encoding allows

	Hole      = "hole"      // bytes between those that were transferred were not
	Rewritten = "rewritten" // a part was transferred again, and differently
)

// File is a part of a body that is a file.
type File struct {
	Name, NamedBy string
	ContentType   string // as declared
	Part          string // its position in the message
	Offset, Size  int64  // in the body
	Transfer      string // base64, quoted-printable or ""
	SHA256        [sha256.Size]byte
	Length        int64 // after transfer decoding
	Kind          string
	Why           string // "" if it is complete
}

// KindOf is the type of a file by its first bytes, without parameters; "" if there are none.
func KindOf(head []byte) string {
	if len(head) == 0 {
		return ""
	}
	return MediaType(mimetype.Detect(head[:min(len(head), HeadSize)]).String())
}

// MediaType is a Content-Type in lower case without parameters.
func MediaType(s string) string {
	s, _, _ = strings.Cut(s, ";")
	return strings.ToLower(strings.TrimSpace(s))
}

// NameOf returns the file name of a Content-Disposition, else of a Content-Type, and which of them has
// it. attached reports whether the disposition says that the content is a file.
func NameOf(disposition, contentType string) (name, by string, attached bool) {
	kind := MediaType(disposition)
	if name = parameter(disposition, "filename"); name != "" {
		return name, "disposition", true
	}
	if name = parameter(contentType, "name"); name != "" {
		by = "type"
	}
	return name, by, kind == "attachment" || by != ""
}

// parameter is a decoded parameter of a header. Senders that follow no RFC are read too: words of
// RFC 2047 in a quoted string, and values that mime.ParseMediaType rejects.
func parameter(header, key string) string {
	if !strings.Contains(strings.ToLower(header), key) {
		return ""
	}
	_, params, err := mime.ParseMediaType(header)
	value := params[key]
	if err != nil && value == "" {
		value = loose(header, key)
	}
	if text, err := new(mime.WordDecoder).DecodeHeader(value); err == nil {
		value = text
	}
	return value[:min(len(value), MaxName+1)]
}

// loose finds key=value or key="value" in a header that is not well-formed.
func loose(header, key string) string {
	lower := strings.ToLower(header)
	for at := 0; ; {
		i := strings.Index(lower[at:], key+"=")
		if i < 0 || len(lower) != len(header) {
			return ""
		}
		if at += i; at > 0 && !strings.ContainsRune("; \t", rune(lower[at-1])) {
			at += len(key)
			continue
		}
		value := header[at+len(key)+1:]
		if rest, ok := strings.CutPrefix(value, `"`); ok {
			value, _, _ = strings.Cut(rest, `"`)
			return value
		}
		value, _, _ = strings.Cut(value, ";")
		return strings.TrimSpace(value)
	}
}

// open is a file whose bytes are being read.
type open struct {
	File
	hash    hash.Hash
	to      io.Writer // decodes into sum
	head    []byte
	pending []byte // a line end that may belong to the boundary after it
}

func newOpen(f File) *open {
	o := &open{File: f, hash: sha256.New()}
	o.to = NewDecoder(f.Transfer, (*sum)(o))
	return o
}

// sum receives the decoded bytes of an open file.
type sum open

func (s *sum) Write(p []byte) (int, error) {
	s.hash.Write(p)
	s.Length += int64(len(p))
	if left := HeadSize - len(s.head); left > 0 {
		s.head = append(s.head, p[:min(left, len(p))]...)
	}
	return len(p), nil
}

func (o *open) write(p []byte) {
	o.Size += int64(len(p))
	_, _ = o.to.Write(p)
}

// end finishes the file. why is the reason if it has no end.
func (o *open) end(why string) File {
	if d, ok := o.to.(interface{ Close() error }); ok && d.Close() != nil && why == "" {
		why = Decoding
	}
	o.hash.Sum(o.SHA256[:0])
	o.Kind, o.Why = KindOf(o.head), why
	return o.File
}

// Payload reports whether a type is that of messages between programs. A body of such a type is a file
// only if something names it.
func Payload(mediaType string) bool {
	switch {
	case mediaType == "", strings.HasSuffix(mediaType, "+json"), strings.HasSuffix(mediaType, "+xml") && mediaType != "image/svg+xml" && mediaType != "application/xhtml+xml",
		strings.HasSuffix(mediaType, "+protobuf"), strings.HasSuffix(mediaType, "+proto"), strings.HasSuffix(mediaType, "+cbor"), strings.HasPrefix(mediaType, "application/grpc"),
		strings.HasPrefix(mediaType, "application/vnd.kubernetes."), strings.HasPrefix(mediaType, "application/ocsp-"), strings.HasPrefix(mediaType, "application/timestamp-"):
		return true
	}
	return payload[mediaType]
}

var payload = map[string]bool{"application/json": true, "text/json": true, "application/x-ndjson": true, "application/ndjson": true, "application/json-seq": true,
	"application/xml": true, "text/xml": true, "application/x-www-form-urlencoded": true, "text/event-stream": true, "application/graphql": true, "application/graphql-response": true,
	"text/plain": true, "text/csv": true, "application/x-protobuf": true, "application/protobuf": true, "application/x-google-protobuf": true, "application/cbor": true, "application/msgpack": true,
	"application/x-msgpack": true, "application/x-thrift": true, "application/dns-message": true, "application/openmetrics-text": true, "application/sdp": true,
	"application/ipp": true, "application/x-amf": true, "application/jose": true, "application/jwt": true, "application/sparql-query": true, "text/x-component": true,
	"application/x-elasticsearch": true, "application/reports": true, "application/csp-report": true, "text/ping": true, "application/connect": true, "application/yaml": true, "text/yaml": true}

// boundaryOf is the line that separates the parts of a multipart type, without its two dashes; nil if
// there is none.
func boundaryOf(contentType string) []byte {
	if !strings.HasPrefix(MediaType(contentType), "multipart/") {
		return nil
	}
	_, params, err := mime.ParseMediaType(contentType)
	value := params["boundary"]
	if err != nil && value == "" {
		value = loose(contentType, "boundary")
	}
	if value == "" || len(value) > maxBoundary {
		return nil
	}
	return bytes.TrimRight([]byte(value), " \t")
}
