package coding

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// awsChunked is the content coding of bodies that clients of Amazon S3 sign, or give a checksum, in pieces.
const awsChunked = "aws-chunked"

const maxChunkLine = 1 << 10 // bytes of the line before a chunk

var errChunkedEnd = errors.New("the last chunk is missing")

// unAWSChunked removes aws-chunked: each chunk has a line with its size in hexadecimal and its signature before it, and
// trailers follow the last one, which is empty (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html,
// and sigv4-streaming-trailers.html).
func unAWSChunked(out *Output, p []byte, limit int64) error {
	for len(p) > 0 {
		line, _, ok := bytes.Cut(p[:min(len(p), maxChunkLine)], []byte("\r\n"))
		size, _, _ := bytes.Cut(line, []byte{';'})
		n, err := strconv.ParseUint(string(size), 16, 32)
		if !ok || err != nil {
			return fmt.Errorf("a chunk begins with %.40q", p)
		}
		if p = p[len(line)+2:]; n == 0 {
			return nil
		}
		data := p[:min(uint64(len(p)), n)]
		if out.N+int64(len(data)) > limit {
			return ErrLimit
		}
		out.Write(data)
		if p = p[len(data):]; uint64(len(data)) == n && len(p) > 0 && !bytes.HasPrefix(p, []byte("\r\n")) {
			return fmt.Errorf("after a chunk of %d bytes is %.40q", n, p)
		}
		p = p[min(len(p), 2):]
	}
	return errChunkedEnd
}
