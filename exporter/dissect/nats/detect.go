package nats

import (
	"bytes"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

const (
	maxDetect = 16 << 10 // bytes of a message that detection waits for
	maxLine0  = 4 << 10  // bytes of a line that it waits for
)

// detect accepts INFO and CONNECT with their fields, and messages whose payload ends where the line states. Lines that
// other protocols share, such as PING, may come before. SUB and UNSUB make NATS likely.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	if len(head) == 0 || strings.IndexByte("ICPHMSUicphmsu+-", head[0]) < 0 {
		return dissect.No
	}
	v := dissect.No
	for before := 0; ; {
		rest := head[before:]
		f, err := parse(dir, rest)
		switch {
		case err != nil:
			return dissect.No
		case len(rest) == 0:
			return v
		case f.op == "INFO" || f.op == "CONNECT":
			return object(&f, rest)
		case f.line == 0 && len(head) > maxLine0:
			return dissect.No
		case f.line == 0:
			return dissect.More
		case f.payload:
			return whole(&f, rest[f.line:])
		}
		before += f.line
		if f.op == "SUB" || f.op == "UNSUB" {
			v = dissect.Likely
		}
	}
}

// fields identify the objects of INFO and CONNECT. They decide before the line ends, so that INFO
// is read before the client's answer.
var fields = map[string][]string{
	"INFO":    {`"server_id"`},
	"CONNECT": {`"verbose"`, `"pedantic"`, `"lang"`, `"auth_token"`, `"jwt"`, `"nkey"`},
}

// object accepts the beginning of INFO and CONNECT.
func object(f *frame, head []byte) dissect.Verdict {
	text := head[len(f.op):]
	if f.line > 0 {
		text = text[:f.line-len(f.op)]
	}
	if open := bytes.TrimLeft(text, " \t"); len(open) > 0 && open[0] != '{' {
		return dissect.No
	}
	for _, field := range fields[f.op] {
		if bytes.Contains(text, []byte(field)) {
			return dissect.Yes
		}
	}
	if f.line > 0 || len(text) > maxDetect {
		return dissect.No
	}
	return dissect.More
}

// whole reports whether a payload has the length that its line states.
func whole(f *frame, b []byte) dissect.Verdict {
	if f.headers > 0 && len(b) >= 8 && !bytes.HasPrefix(b, []byte("NATS/1.0")) {
		return dissect.No
	}
	if int64(len(b)) >= f.total+2 {
		return dissect.Yes.If(b[f.total] == '\r' && b[f.total+1] == '\n')
	}
	if f.total <= maxDetect {
		return dissect.More
	}
	return dissect.Likely.If(f.headers > 0 && len(b) >= 8 || bytes.IndexByte(f.subject, '.') > 0)
}

// detectOnPort accepts any whole line of that side, such as the PING of a connection that rests.
func detectOnPort(dir dissect.Dir, head []byte) dissect.Verdict {
	f, err := parse(dir, head)
	return dissect.Yes.If(err == nil && f.line > 1 && head[f.line-2] == '\r')
}

// resume accepts any line of that side, and waits for its end.
func resume(dir dissect.Dir, head []byte) dissect.Verdict {
	f, err := parse(dir, head)
	switch {
	case err != nil || f.line == 0 && len(head) > maxLine0:
		return dissect.No
	case f.line == 0:
		return dissect.More
	}
	return dissect.Likely
}
