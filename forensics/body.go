package forensics

import (
	"context"
	"encoding/hex"
	"maps"
	"math"
	"slices"

	"github.com/pcapsule/pcapsule/forensics/redact"
)

// Body is a message body after transfer and content decoding.
type Body struct {
	SHA256      string
	Size        int64 // decoded size
	WireSize    int64
	ContentType string
	Encoding    string // content encoding that was decoded
	Complete    bool   // no byte is missing
	IsText      bool
	Data        []byte // up to the limit
	Truncated   bool   // Data is incomplete
	Object      bool   // too large for table bodies: only its packets are known
}

// messages of a call, as the names of their columns begin.
var messages = [...]string{"request", "response"}

// Body is the body of the request, or else of the response.
func (x *Exchange) Body(side string) *Body {
	if side == "request" {
		return x.Request
	}
	return x.Response
}

// bodySize is the size of both bodies of a call, at most most bytes of each.
func (x *Exchange) bodySize(most int) (n int) {
	for _, side := range messages {
		size, _ := x.Call.Get(side + "_body_size").(int64)
		n += int(min(max(size, 0), int64(most)))
	}
	return n
}

// readBodies reads the bodies of calls, at most most bytes of each.
func (c *Case) readBodies(ctx context.Context, list []*Exchange, most int) error {
	hashes := map[int][]string{}
	for _, x := range list {
		for _, side := range messages {
			if hash, _ := x.Call.Get(side + "_body_sha256").([]byte); hash != nil {
				hashes[x.Bundle] = append(hashes[x.Bundle], hex.EncodeToString(hash))
			}
		}
	}
	stored := map[int]map[string]*Body{}
	for _, b := range slices.Sorted(maps.Keys(hashes)) {
		var err error
		if stored[b], err = c.storedBodies(ctx, b, hashes[b], most); err != nil {
			return err
		}
	}
	for _, x := range list {
		for i, to := range []**Body{&x.Request, &x.Response} {
			var err error
			if *to, err = c.bodyOf(ctx, x, messages[i], stored[x.Bundle]); err != nil {
				return err
			}
		}
	}
	return nil
}

// bodyOf is one body of a call, masked if the case is; nil if the message had none.
func (c *Case) bodyOf(ctx context.Context, x *Exchange, side string, stored map[string]*Body) (*Body, error) {
	hash, _ := x.Call.Get(side + "_body_sha256").([]byte)
	size, there := x.Call.Get(side + "_body_size").(int64)
	if hash == nil && !there {
		return nil, nil
	}
	b := &Body{Size: size}
	s := stored[hex.EncodeToString(hash)]
	if s != nil {
		*b = *s // a body of several calls is stored once
	}
	b.SHA256 = hex.EncodeToString(hash)
	b.WireSize, _ = x.Call.Get(side + "_body_wire_size").(int64)
	b.ContentType, _ = x.Call.Get(side + "_content_type").(string)
	if hash == nil || c.views["bodies"] == nil {
		return b, nil
	}
	b.Truncated = int64(len(b.Data)) < b.Size
	b.Object = s == nil && b.Size > 0
	return b, c.maskBody(ctx, b)
}

// StoredBody is a body of table bodies as it was sent, by its SHA-256 in hexadecimal digits; nil if the
// bundle does not have it.
func (c *Case) StoredBody(ctx context.Context, bundle int, hash string) (*Body, error) {
	list, err := c.storedBodies(ctx, bundle, []string{hash}, math.MaxInt)
	return list[hash], err
}

// anyBundle stands for every bundle of a case.
const anyBundle = -1

// Bodies returns the stored bodies with these hashes and content types, masked if the case is, with at most so many bytes of each.
func (c *Case) Bodies(ctx context.Context, types map[string]string, most int) (map[string]*Body, error) {
	stored, err := c.storedBodies(ctx, anyBundle, slices.Sorted(maps.Keys(types)), most)
	if err != nil {
		return nil, err
	}
	for hash, b := range stored {
		b.ContentType, b.Truncated = types[hash], int64(len(b.Data)) < b.Size
		if err := c.maskBody(ctx, b); err != nil {
			return nil, err
		}
	}
	return stored, nil
}

// storedBodies joins the overlapping parts of a bundle's bodies. It reads unmasked parts, because
// masking would change their lengths and break the offsets.
func (c *Case) storedBodies(ctx context.Context, b int, hashes []string, most int) (map[string]*Body, error) {
	if c.views["bodies"] == nil {
		return nil, nil
	}
	rows, err := c.Unmasked().db.Query(ctx, `SELECT lower(hex(sha256)), part, "offset", size, complete, encoding, text, bytes FROM bodies_raw
		WHERE sha256 IN (SELECT unhex(unnest(?)))`+c.ofBundle(b)+" ORDER BY sha256, part", hashes)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	stored, next, full := map[string]*Body{}, map[string]int64{}, map[string]bool{}
	for rows.Next() {
		hash := rows.Text(0)
		if rows.Int(1) != next[hash] || full[hash] { // the same body, stored again for a later window
			continue
		}
		next[hash]++
		s := stored[hash]
		if s == nil {
			s = &Body{IsText: true}
			stored[hash] = s
		}
		s.Size, s.Encoding = rows.Int(3), rows.Text(5)
		complete, err := rows.Value(4)
		if err != nil {
			return nil, err
		}
		s.Complete, _ = complete.(bool)
		data, err := rows.Value(7)
		if err != nil {
			return nil, err
		}
		piece, binary := data.([]byte)
		if !binary {
			piece = []byte(rows.Text(6))
		}
		s.IsText = s.IsText && !binary
		full[hash] = !s.Join(piece, rows.Int(2), most)
	}
	return stored, rows.Err()
}

// maskBody masks a body if the case masks.
func (c *Case) maskBody(ctx context.Context, b *Body) error {
	if !c.mask {
		return nil
	}
	m, err := c.Masker(ctx)
	if err != nil {
		return err
	}
	if b.IsText {
		b.Data = []byte(m.Text(redact.AsContent, b.ContentType, string(b.Data)))
	} else {
		b.Data = []byte(m.Bytes("bytes", string(b.Data)))
	}
	return nil
}

// Join appends a part that begins at off. It returns false when the limit is reached.
func (b *Body) Join(piece []byte, off int64, most int) bool {
	have := int64(len(b.Data))
	if off > have || off < 0 {
		return false
	}
	if skip := have - off; skip < int64(len(piece)) {
		b.Data = append(b.Data, piece[skip:]...)
	}
	if len(b.Data) > most {
		b.Data = b.Data[:most]
	}
	return len(b.Data) < most
}
