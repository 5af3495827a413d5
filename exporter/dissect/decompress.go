package dissect

// Decompress decodes bytes that a protocol compressed inside its messages: with deflate (zlib),
// zstd, snappy or another content coding. The result has at most limit bytes. Together with the
// bodies near the same packet it is limited, so that a few packets cannot cost much memory or
// time.
func (c *Conn) Decompress(coding string, p []byte, limit int64) ([]byte, error) {
	e := c.engine
	left := e.decodeAllowance(c.root().now.No)
	out := decodedOutput{keep: limit}
	err := decodeContent(&out, coding, p, min(limit, left))
	e.spanDecoded += out.n
	return out.data, err
}
