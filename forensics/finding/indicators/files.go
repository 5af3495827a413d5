package indicators

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"io"
	"mime/quotedprintable"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/indicator"
)

// maxHashed is the highest number of bytes of files whose MD5 and SHA-1 an answer computes.
const maxHashed = 1 << 30

// stored is a file whose bytes are in a body of the bundle.
type stored struct {
	Bundle   int64  `json:"bundle"`
	SHA256   string `json:"sha256"`
	Body     string `json:"body"`
	From     int64  `json:"body_offset"`
	Size     int64  `json:"body_size"`
	Transfer string `json:"transfer"`
}

// short returns what the MD5 and SHA-1 of files match, by their SHA-256. A bundle has only the last, so the other two are
// computed from the stored bytes, if a list has any.
func (s *search) short(ctx context.Context) (map[string][]indicator.Indicator, error) {
	if !s.set.ShortHashes() {
		return nil, nil
	}
	bundle := "0"
	if s.l.Case.Several() {
		bundle = "bundle"
	}
	list, more, err := ask.Rows[stored](ctx, s.l.Case, maxValues, `SELECT bundle, lower(hex(sha256)) AS sha256, lower(hex(body_sha256)) AS body, body_offset, body_size, coalesce(transfer_encoding, '') AS transfer
		FROM (SELECT `+bundle+` AS bundle, sha256, body_sha256, body_offset, body_size, transfer_encoding, object_id FROM objects WHERE complete AND encoding IS NULL)
		QUALIFY row_number() OVER (PARTITION BY sha256 ORDER BY body_sha256 IS NULL, bundle, body_sha256, body_offset, object_id) = 1 ORDER BY bundle, body, body_offset`)
	if err != nil {
		return nil, err
	}
	out := map[string][]indicator.Indicator{}
	left, unread := int64(maxHashed), 0
	for _, f := range list {
		if f.Body == "" || f.Size > left {
			unread++
			continue
		}
		left -= f.Size
		body, err := s.l.Case.StoredBody(ctx, int(f.Bundle), f.Body)
		if err != nil {
			return nil, err
		}
		if body == nil || f.From < 0 || f.Size < 0 || f.From+f.Size > int64(len(body.Data)) {
			unread++
			continue
		}
		for _, h := range hashes(body.Data[f.From:f.From+f.Size], f.Transfer) {
			out[f.SHA256] = append(out[f.SHA256], s.set.Other(indicator.File, h)...)
		}
	}
	s.cut = s.cut || more
	if unread > 0 {
		s.l.Note("%d {file|files} could not be compared with MD5 and SHA-1 of the lists: the bundle has no bytes of {it|them}, or too many", unread)
	}
	return out, nil
}

// hashes are the MD5 and SHA-1 of a file.
func hashes(data []byte, transfer string) (list []string) {
	var r io.Reader = bytes.NewReader(data)
	switch transfer {
	case "base64":
		r = base64.NewDecoder(base64.StdEncoding, r)
	case "quoted-printable":
		r = quotedprintable.NewReader(r)
	}
	both := []hash.Hash{md5.New(), sha1.New()}
	if _, err := io.Copy(io.MultiWriter(both[0], both[1]), r); err != nil {
		return nil // damaged, which the row of a complete file is not
	}
	for _, h := range both {
		list = append(list, hex.EncodeToString(h.Sum(nil)))
	}
	return list
}
