package mysql

import (
	"bytes"
	"io"
	"strings"
	"sync"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/sqltext"
	"github.com/pcapsule/pcapsule/internal/clip"
)

const (
	maxUndetected = 4 << 10 // bytes of a message to wait for
	maxPeek       = 512     // bytes decompressed to look at them
	leastText     = 18      // bytes of a statement that are enough to recognize it: PostgreSQL's tag of START TRANSACTION has 17
)

// detect implements Protocol.Detect.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	v := detectPlain(dir, head)
	if v >= dissect.Likely {
		return v
	}
	return max(v, detectPacked(dir, head))
}

func detectPlain(dir dissect.Dir, b []byte) dissect.Verdict {
	if len(b) <= headerSize {
		if len(b) == headerSize && b[3] > 3 {
			return dissect.No
		}
		return dissect.More
	}
	size, seq := u24(b), b[3]
	if dir == dissect.ToClient {
		return detectReply(b, size, seq)
	}
	if size == 0 {
		return dissect.No
	}
	message := b[headerSize:min(len(b), headerSize+size)]
	if seq == 1 || seq == 2 { // 2 after a request for TLS
		is, more := isResponse(message, size)
		return verdict(is, more)
	}
	if seq != 0 {
		return dissect.No
	}
	return detectCommand(b, message, size)
}

func verdict(is, more bool) dissect.Verdict {
	switch {
	case is:
		return dissect.Yes
	case more:
		return dissect.More
	}
	return dissect.No
}

// short are the commands of a fixed size.
var short = map[byte]int{comQuit: 1, comPing: 1, comStatistics: 1, comProcessInfo: 1, comResetSession: 1, comClose: 5, comReset: 5, comFetch: 9}

// resume implements Protocol.Resume: a short command may also be alone, as pings of a pool are.
func resume(dir dissect.Dir, head []byte) dissect.Verdict {
	v := detect(dir, head)
	if n := len(head) - headerSize; v == dissect.More && dir == dissect.ToServer && n > 0 && head[3] == 0 && u24(head) == n && short[head[headerSize]] == n {
		return dissect.Likely
	}
	return v
}

// detectCommand examines a command. Those without a content of their own need another one after
// them.
func detectCommand(b, message []byte, size int) dissect.Verdict {
	switch command := message[0]; {
	case command == comQuery || command == comPrepare:
		return detectStatement(message[1:], len(message) < size)
	case command == comExecute:
		if size < 10 {
			return dissect.No
		}
		for i, c := range message[min(len(message), 5):min(len(message), 10)] {
			if i == 0 && c > 0x0f || i == 1 && c != 1 || i > 1 && c != 0 {
				return dissect.No
			}
		}
		if len(message) < 10 {
			return dissect.More
		}
		return dissect.Likely
	case short[command] == size:
		if len(b) <= headerSize+size {
			return dissect.More
		}
		return detectPlain(dissect.ToServer, b[headerSize+size:])
	}
	return dissect.No
}

// words are the first words of statements.
var words = sync.OnceValue(func() map[string]bool {
	list := map[string]bool{}
	for w := range strings.FieldsSeq(`ALTER ANALYZE BEGIN CALL CHANGE CHECK CHECKSUM COMMIT CREATE DEALLOCATE DELETE DESC DESCRIBE DO DROP EXECUTE EXPLAIN FLUSH
		GRANT HANDLER HELP INSERT INSTALL KILL LOAD LOCK OPTIMIZE PREPARE PURGE RELEASE RENAME REPAIR REPLACE RESET REVOKE ROLLBACK SAVEPOINT SELECT SET SHOW
		SIGNAL START STOP TABLE TRUNCATE UNLOCK UPDATE USE VALUES WITH XA`) {
		list[w] = true
	}
	return list
})

// detectStatement examines the text of a statement.
func detectStatement(b []byte, cut bool) dissect.Verdict {
	if len(b) >= 2 && b[0] == 0 && b[1] == 1 { // no query attributes
		b = b[2:]
	}
	for _, c := range b {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f {
			return dissect.No
		}
	}
	if cut && len(b) < leastText {
		return dissect.More
	}
	if !words()[sqltext.Verb(string(b[:min(len(b), maxPeek)]))] {
		return dissect.No
	}
	return dissect.Likely
}

// detectReply examines the first message of a reply, or a greeting.
func detectReply(b []byte, size int, seq byte) dissect.Verdict {
	message := b[headerSize:min(len(b), headerSize+size)]
	if size == 0 || size > maxUndetected || seq > 4 {
		return dissect.No
	}
	if seq == 0 && message[0] == 10 {
		is, more := isGreeting(message, size)
		return verdict(is, more)
	}
	whole := len(message) == size
	switch first := message[0]; {
	case first == packetErr:
		return detectError(message, size, seq)
	case seq == 0:
		return dissect.No
	case first == packetOK && size >= 7:
		if !whole {
			return dissect.More
		}
		return detectOK(b, message, size)
	case first > 0 && first < packetFile && size <= 2 && (len(message) < 2 || message[1] <= 1):
		return definesNext(b[min(len(b), headerSize+size):], seq+1)
	}
	return dissect.No
}

// definesNext reports whether a message begins with the definition of a column.
func definesNext(b []byte, seq byte) dissect.Verdict {
	const catalog = "\x03def"
	for i := range min(len(b), headerSize+len(catalog)) {
		if i == 2 && b[i] != 0 || i == 3 && b[i] != seq || i >= headerSize && b[i] != catalog[i-headerSize] {
			return dissect.No
		}
	}
	if len(b) < headerSize+len(catalog) {
		return dissect.More
	}
	return dissect.Likely
}

// detectError examines ERR_Packet. As the first message of a connection it is certain, because nothing but its text and
// its number can identify it.
func detectError(b []byte, size int, seq byte) dissect.Verdict {
	if len(b) < size {
		return dissect.More
	}
	if size < 12 {
		return dissect.No
	}
	code := int(b[1]) | int(b[2])<<8
	text := b[3:]
	if text[0] == '#' {
		for _, c := range text[1:6] {
			if (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
				return dissect.No
			}
		}
		text = text[6:]
	} else if seq != 0 {
		return dissect.No
	}
	if code < 1000 || code > 5999 || len(text) < 4 || !clip.Printable(bytes.TrimRight(text, "\r\n")) {
		return dissect.No
	}
	if seq == 0 {
		return dissect.Yes
	}
	return dissect.Likely
}

// detectOK examines OK_Packet and COM_STMT_PREPARE_OK.
func detectOK(b, message []byte, size int) dissect.Verdict {
	if size == 12 && message[9] == 0 && message[3] == 0 && message[4] == 0 {
		if message[5]|message[6]|message[7]|message[8] == 0 {
			return dissect.No
		}
		return definesNext(b[headerSize+size:], b[3]+1)
	}
	r := newReader(message[1:])
	affected, _ := r.lenenc()
	id, _ := r.lenenc()
	status := r.number(2)
	r.number(2)
	const unused = 0x8004 // bits of a status without a meaning
	if r.Short() || status&(statusAutocommit|statusInTransaction) == 0 || status&unused != 0 || affected > 1<<32 || id > 1<<62 {
		return dissect.No
	}
	info := r.Rest()
	if tracked := status&statusSessionState != 0; tracked || len(info) > 0 && int(info[0]) == len(info)-1 {
		if info = r.text(); tracked {
			r.text()
		}
		if r.Short() || r.Left() > 0 {
			return dissect.No
		}
	}
	return dissect.Likely.If(clip.Printable(info))
}

// detectPacked examines a compressed packet by its content.
func detectPacked(dir dissect.Dir, b []byte) dissect.Verdict {
	if len(b) < packedSize+headerSize+1 || b[3] > 4 || dir == dissect.ToServer && b[3] != 0 {
		return dissect.No
	}
	size, plain := u24(b), u24(b[headerSize:])
	data := b[packedSize:min(len(b), packedSize+size)]
	switch {
	case size <= headerSize || plain > 0 && plain < size/2:
		return dissect.No
	case plain > 0:
		var ok bool
		if data, ok = peek(data); !ok {
			return dissect.No
		}
	}
	if len(data) <= headerSize || plain == 0 && u24(data)+headerSize > size {
		return dissect.No
	}
	return dissect.Likely.If(detectPlain(dir, data) >= dissect.Likely)
}

// peek decompresses the beginning of data.
func peek(data []byte) ([]byte, bool) {
	var r io.Reader
	switch {
	case coding(data) == "zstd":
		d, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, false
		}
		defer d.Close()
		r = d
	case len(data) > 2 && data[0] == 0x78 && (int(data[0])<<8|int(data[1]))%31 == 0: // RFC 1950 section 2.2
		z, err := zlib.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, false
		}
		r = z
	default:
		return nil, false
	}
	out := make([]byte, maxPeek)
	n, _ := io.ReadFull(r, out) // the data may be cut
	return out[:n], n > 0
}
