package tacacs

import (
	"errors"

	"github.com/pcapsule/pcapsule/exporter/cursor"
	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Types of packets, RFC 8907 section 4.1.
const (
	authentication = 1
	authorization  = 2
	accounting     = 3
)

// Statuses of an authentication, RFC 8907 section 5.2.
const (
	getUser = 4
	getPass = 5
)

var errBody = errors.New("reading a body: its lengths do not fit")

// kinds are the values of auth_kind by the type of an authentication, RFC 8907 section 5.1. ASCII asks for a password later.
var kinds = map[uint8]string{2: "pap", 3: "chap", 5: "ms-chap", 6: "ms-chap-v2"}

// request is the common part of the bodies of requests, RFC 8907 sections 5.1, 6.1 and 7.1.
type request struct {
	flags, privilege, kind, service uint8 // flags: the action, the method or the flags of accounting
	user, port, remote, data        []byte
	args                            [][]byte
	at                              int // of data
}

// readRequest reads the body of the first packet of a session.
func readRequest(h head, b []byte) (q request, ok bool) {
	r := cursor.New(b)
	q.flags = r.Uint8()
	if h.kind == accounting {
		r.Skip(1) // the method
	}
	q.privilege, q.kind, q.service = r.Uint8(), r.Uint8(), r.Uint8()
	user, port, remote, last := int(r.Uint8()), int(r.Uint8()), int(r.Uint8()), int(r.Uint8())
	var lengths []byte
	if h.kind != authentication {
		lengths, last = r.Bytes(last), 0
	}
	q.user, q.port, q.remote = r.Bytes(user), r.Bytes(port), r.Bytes(remote)
	q.at = r.Used()
	q.data = r.Bytes(last)
	for _, n := range lengths {
		q.args = append(q.args, r.Bytes(int(n)))
	}
	return q, !r.Short() && r.Left() == 0 && q.privilege <= 15
}

// bodyFits reports whether what there is of a body in clear text may be one.
func bodyFits(h head, b []byte) bool {
	if h.kind == authentication && h.sequence > 1 || len(b) < h.size-headSize {
		return true
	}
	_, ok := readRequest(h, b)
	return ok
}

// clear reports whether a body is in clear text: the flag says so or, from clients without a shared secret that do not set it, all
// fields fit.
func (h *head) clear(dir dissect.Dir, b []byte) bool {
	switch {
	case h.flags&unencrypted != 0:
		return true
	case dir == dissect.ToServer && (h.kind != authentication || h.sequence == 1):
		q, ok := readRequest(*h, b)
		return ok && q.kind <= 6 && q.service <= 9 && clip.Printable(q.user) && clip.Printable(q.port) && clip.Printable(q.remote)
	case dir == dissect.ToServer:
		return len(b) >= 5 && b[4] <= 1 && 5+int(b[0])<<8+int(b[1])+int(b[2])<<8+int(b[3]) == len(b)
	}
	return h.readReply(&Row{}, b)
}

// asked reads the body of a request.
func (k *conn) asked(in *dissect.Input, h head, c *call, b []byte) error {
	row := c.Row
	if h.kind == authentication && h.sequence > 1 {
		return k.continued(in, h, c, b)
	}
	q, ok := readRequest(h, b)
	if !ok {
		return errBody
	}
	row.User, row.Terminal, row.Remote = text(q.user), text(q.port), text(q.remote)
	row.Privilege = table.Some(int32(q.privilege))
	row.Service = table.NonEmpty(tables()["service"][int64(q.service)])
	switch h.kind {
	case authentication:
		row.Method = table.Some(tables()["action"].Name(int64(q.flags), "action_"))
		row.AuthKind = table.NonEmpty(kinds[q.kind])
		c.X.Hide(in, headSize+q.at, headSize+q.at+len(q.data))
		if row.AuthKind.V == "pap" {
			k.Conn.Password(row.User.V, string(q.data))
		}
	case accounting:
		row.Method = table.Some("ACCOUNTING " + tables()["flags"].Name(int64(q.flags), "flags_"))
	}
	for _, a := range q.args {
		row.Arguments = append(row.Arguments, clip.Line(a, maxText))
	}
	k.remember(h.session, login{user: row.User.V})
	return nil
}

// continued reads what the user typed, RFC 8907 section 5.3.
func (k *conn) continued(in *dissect.Input, h head, c *call, b []byte) error {
	r := cursor.New(b)
	message, data, flags := int(r.Uint16()), int(r.Uint16()), r.Uint8()
	typed := r.Bytes(message)
	r.Skip(data)
	if r.Short() || r.Left() != 0 {
		return errBody
	}
	row, l := c.Row, k.users[h.session]
	row.Method = table.Some("CONTINUE")
	if l.asks == getUser {
		l.user = clip.Line(typed, maxText)
		k.remember(h.session, l)
	} else {
		c.X.Hide(in, headSize+5, headSize+5+message+data)
	}
	if row.User = table.NonEmpty(l.user); l.asks == getPass && flags&1 == 0 {
		row.AuthKind = table.Some("password")
		k.Conn.Password(l.user, string(typed))
	}
	return nil
}

// remember notes the user of a session.
func (k *conn) remember(session uint32, l login) {
	if _, known := k.users[session]; !known && len(k.users) == maxUsers {
		clear(k.users)
	}
	k.users[session] = l
}

// answered reads the body of a reply.
func (k *conn) answered(h head, row *Row, b []byte) error {
	if !h.readReply(row, b) {
		return errBody
	}
	switch row.StatusText.V {
	case "FAIL":
		row.Outcome = table.Refused
	case "ERROR":
		row.Outcome = table.ServerError
	}
	if l, known := k.users[h.session]; known {
		l.asks = int64(row.StatusCode.V)
		k.users[h.session] = l
	}
	return nil
}

// readReply reads the body of a reply, RFC 8907 sections 5.2, 6.2 and 7.2. It reports whether its fields fit.
func (h *head) readReply(row *Row, b []byte) bool {
	r := cursor.New(b)
	var status, flags uint8
	count := 0
	switch h.kind {
	case authentication:
		status, flags = r.Uint8(), r.Uint8()
	case authorization:
		status, count = r.Uint8(), int(r.Uint8())
	}
	message, data := int(r.Uint16()), int(r.Uint16())
	if h.kind == accounting {
		status = r.Uint8()
	}
	args := r.Bytes(count)
	row.Message = text(r.Bytes(message))
	r.Skip(data)
	for _, n := range args {
		row.Answers = append(row.Answers, clip.Line(r.Bytes(int(n)), maxText))
	}
	names := tables()[map[uint8]string{authentication: "authen", authorization: "author", accounting: "acct"}[h.kind]]
	row.StatusCode, row.StatusText = table.Some(int32(status)), table.Some(names.Name(int64(status), "status_"))
	return !r.Short() && r.Left() == 0 && flags <= 1 && names[int64(status)] != ""
}

func text(b []byte) table.Opt[string] { return table.NonEmpty(clip.Line(b, maxText)) }
