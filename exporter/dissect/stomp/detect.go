package stomp

import (
	"bytes"

	"github.com/pcapsule/pcapsule/exporter/dissect"
)

const maxDetect = 8 << 10 // bytes of a head that detection waits for

// required are headers: a frame must have one of them to be recognized outside the login.
var required = map[string][]string{
	"SEND": {"destination"}, "SUBSCRIBE": {"destination"}, "UNSUBSCRIBE": {"id", "destination"}, "ACK": {"id", "message-id"}, "NACK": {"id", "message-id"},
	"BEGIN": {"transaction"}, "COMMIT": {"transaction"}, "ABORT": {"transaction"}, "MESSAGE": {"message-id"}, "RECEIPT": {"receipt-id"},
}

// greetings are the headers of the frames of the login.
var greetings = [...]string{"accept-version:", "host:", "login:", "passcode:", "heart-beat:", "version:", "session:", "server:", "user-name:"}

// greets reports whether a frame of the login begins with one of its headers. This decides before the
// frame ends, so that it is read before what the server answers.
func greets(head []byte) bool {
	command, rest, _ := bytes.Cut(head, []byte("\n"))
	switch string(bytes.TrimSuffix(command, []byte("\r"))) {
	case "CONNECT", "STOMP", "CONNECTED":
		for _, name := range greetings {
			if bytes.HasPrefix(rest, []byte(name)) {
				return true
			}
		}
	}
	return false
}

// detect accepts frames with the headers that they must have.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	if len(head) == 0 || head[0] < 'A' || head[0] > 'U' {
		return dissect.No
	}
	f, err := parse(dir, head, 0)
	switch {
	case err != nil, f.head == 0 && len(head) > maxDetect:
		return dissect.No
	case greets(head):
		return dissect.Yes
	case f.head == 0:
		return dissect.More
	case f.body && f.counted:
	case !f.body && len(head) == f.head:
		return dissect.More
	case !f.body && head[f.head] != 0:
		return dissect.No
	case f.body && bytes.IndexByte(head[f.head:], 0) < 0: // NUL ends a body of unknown length
		if len(head) > maxDetect {
			return dissect.No
		}
		return dissect.More
	}
	names, ok := required[f.command]
	if !ok && (f.command == "DISCONNECT" || f.command == "ERROR") {
		return dissect.No
	}
	for _, name := range names {
		if len(f.get(name)) > 0 {
			ok = false
		}
	}
	if ok {
		return dissect.No
	}
	return dissect.Yes
}

// resume accepts any frame of that side.
func resume(dir dissect.Dir, head []byte) dissect.Verdict {
	rest := bytes.TrimLeft(head, "\r\n")
	if len(rest) == 0 {
		return dissect.More
	}
	f, err := parse(dir, rest, 0)
	switch {
	case err != nil:
		return dissect.No
	case f.head == 0 || !f.body && len(rest) == f.head:
		return dissect.More
	case !f.body && rest[f.head] != 0:
		return dissect.No
	}
	return dissect.Likely
}
