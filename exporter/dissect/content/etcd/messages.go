package etcd

import (
	"iter"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Limits of a call.
const (
	maxText     = 256     // bytes of a text
	maxKeys     = 32      // of column etcd_keys
	maxDepth    = 4       // transactions within transactions
	maxMessages = 1 << 16 // of one direction
	maxParts    = 16      // keys and conditions in the summary
)

// value is the value of a field: a number, or bytes.
type value struct {
	n uint64
	b []byte
}

func (v value) key() string { return clip.Text(v.b, maxText) }

// fields are the fields of a message up to one that cannot be read.
func fields(b []byte) iter.Seq2[protowire.Number, value] {
	return func(yield func(protowire.Number, value) bool) {
		for len(b) > 0 {
			number, typ, n := protowire.ConsumeTag(b)
			if n < 0 {
				return
			}
			b = b[n:]
			var v value
			switch typ {
			case protowire.VarintType:
				v.n, n = protowire.ConsumeVarint(b)
			case protowire.BytesType:
				v.b, n = protowire.ConsumeBytes(b)
			default:
				n = protowire.ConsumeFieldValue(number, typ, b)
			}
			if n < 0 || !yield(number, v) {
				return
			}
			b = b[n:]
		}
	}
}

// ends are the key and the end in the field first and the one after it.
func ends(b []byte, first protowire.Number) (key, end []byte) {
	for n, v := range fields(b) {
		switch n {
		case first:
			key = v.b
		case first + 1:
			end = v.b
		}
	}
	return key, end
}

// method has the readers of the messages of one method; nil: they say nothing more.
type method struct{ request, answer func(*reader, []byte) }

// methods are those of the three services' definitions, rpc.proto, v3lock.proto and v3election.proto of
// etcd 3.7. The numbers of fields below are theirs.
var methods = map[string]method{
	"/etcdserverpb.KV/Range":       {(*reader).span, (*reader).found},
	"/etcdserverpb.KV/RangeStream": {(*reader).span, (*reader).found},
	"/etcdserverpb.KV/Put":         {(*reader).put, (*reader).previous},
	"/etcdserverpb.KV/DeleteRange": {(*reader).span, (*reader).deleted},
	"/etcdserverpb.KV/Txn":         {func(r *reader, b []byte) { r.txn(b, 0) }, (*reader).txnAnswer},
	"/etcdserverpb.KV/Compact":     {nil, (*reader).header},

	"/etcdserverpb.Watch/Watch": {(*reader).watch, (*reader).events},

	"/etcdserverpb.Lease/LeaseGrant":      {(*reader).leaseGrant, (*reader).leaseAnswer},
	"/etcdserverpb.Lease/LeaseRevoke":     {(*reader).lease, (*reader).header},
	"/etcdserverpb.Lease/LeaseKeepAlive":  {(*reader).lease, (*reader).leaseAnswer},
	"/etcdserverpb.Lease/LeaseTimeToLive": {(*reader).lease, (*reader).leaseAnswer},
	"/etcdserverpb.Lease/LeaseLeases":     {nil, (*reader).listed},

	"/etcdserverpb.Cluster/MemberAdd":     {nil, (*reader).header},
	"/etcdserverpb.Cluster/MemberRemove":  {nil, (*reader).header},
	"/etcdserverpb.Cluster/MemberUpdate":  {nil, (*reader).header},
	"/etcdserverpb.Cluster/MemberList":    {nil, (*reader).listed},
	"/etcdserverpb.Cluster/MemberPromote": {nil, (*reader).header},

	"/etcdserverpb.Maintenance/Alarm":      {nil, (*reader).header},
	"/etcdserverpb.Maintenance/Status":     {nil, (*reader).header},
	"/etcdserverpb.Maintenance/Defragment": {nil, (*reader).header},
	"/etcdserverpb.Maintenance/Hash":       {nil, (*reader).header},
	"/etcdserverpb.Maintenance/HashKV":     {nil, (*reader).header},
	"/etcdserverpb.Maintenance/Snapshot":   {nil, (*reader).header},
	"/etcdserverpb.Maintenance/MoveLeader": {nil, (*reader).header},
	"/etcdserverpb.Maintenance/Downgrade":  {nil, (*reader).header},

	"/etcdserverpb.Auth/AuthEnable":           {nil, (*reader).header},
	"/etcdserverpb.Auth/AuthDisable":          {nil, (*reader).header},
	"/etcdserverpb.Auth/AuthStatus":           {nil, (*reader).header},
	"/etcdserverpb.Auth/Authenticate":         {(*reader).user, (*reader).header},
	"/etcdserverpb.Auth/UserAdd":              {(*reader).user, (*reader).header},
	"/etcdserverpb.Auth/UserGet":              {(*reader).user, (*reader).header},
	"/etcdserverpb.Auth/UserList":             {nil, (*reader).header},
	"/etcdserverpb.Auth/UserDelete":           {(*reader).user, (*reader).header},
	"/etcdserverpb.Auth/UserChangePassword":   {(*reader).user, (*reader).header},
	"/etcdserverpb.Auth/UserGrantRole":        {(*reader).userRole, (*reader).header},
	"/etcdserverpb.Auth/UserRevokeRole":       {(*reader).userRole, (*reader).header},
	"/etcdserverpb.Auth/RoleAdd":              {(*reader).role, (*reader).header},
	"/etcdserverpb.Auth/RoleGet":              {(*reader).role, (*reader).header},
	"/etcdserverpb.Auth/RoleList":             {nil, (*reader).header},
	"/etcdserverpb.Auth/RoleDelete":           {(*reader).role, (*reader).header},
	"/etcdserverpb.Auth/RoleGrantPermission":  {(*reader).grant, (*reader).header},
	"/etcdserverpb.Auth/RoleRevokePermission": {(*reader).revoke, (*reader).header},

	"/v3lockpb.Lock/Lock":   {(*reader).lock, (*reader).locked},
	"/v3lockpb.Lock/Unlock": {(*reader).span, (*reader).header},

	"/v3electionpb.Election/Campaign": {(*reader).lock, (*reader).elected},
	"/v3electionpb.Election/Proclaim": {(*reader).leader, (*reader).header},
	"/v3electionpb.Election/Leader":   {(*reader).lock, (*reader).header},
	"/v3electionpb.Election/Observe":  {(*reader).lock, (*reader).header},
	"/v3electionpb.Election/Resign":   {(*reader).leader, (*reader).header},
}

// secret are the methods with a password or a token in their messages.
var secret = []string{"/etcdserverpb.Auth/Authenticate", "/etcdserverpb.Auth/UserAdd", "/etcdserverpb.Auth/UserChangePassword"}

// Endless reports whether only the client ends a call of a method, by cancelling it.
func Endless(path string) bool {
	return path == "/etcdserverpb.Watch/Watch" || path == "/etcdserverpb.Lease/LeaseKeepAlive" || path == "/v3electionpb.Election/Observe"
}

// SendsSecret reports whether messages of a method contain a password or a token.
func SendsSecret(path string) bool { return slices.Contains(secret, path) }

// reader collects what the messages of a call say.
type reader struct {
	o             *Operation
	seen          map[string]bool // keys
	parts         []string        // of the summary
	conditions    []string
	puts, deletes int64
	more          bool // keys of a request after the first one
	lost          bool // messages
}

func (r *reader) read(messages iter.Seq[[]byte], use func(*reader, []byte)) {
	if use == nil {
		return
	}
	n := 0
	for data := range messages {
		if n++; n > maxMessages {
			r.lost = true
			return
		}
		use(r, data)
	}
}

// add adds a part of the summary to a list.
func add(list *[]string, s string) {
	if len(*list) == maxParts {
		s = "…"
	}
	if len(*list) <= maxParts {
		*list = append(*list, s)
	}
}

// keyed records a key of an answer or an event.
func (r *reader) keyed(k string) {
	if k == "" || r.seen[k] || len(r.o.Keys) == maxKeys {
		return
	}
	r.seen[k] = true
	if k != r.o.Key.V {
		r.o.Keys = append(r.o.Keys, k)
	}
}

// target records a key or a range that the client names. A range ends before its end; rpc.proto says what the
// ends "\x00" and "one more than the key" mean.
func (r *reader) target(what string, key, end []byte) {
	o, kind := r.o, "key"
	switch {
	case len(end) == 0:
	case string(end) == "\x00" && string(key) == "\x00":
		kind, key = "all", nil
	case string(end) == "\x00":
		kind = "from"
	case string(end) == string(next(key)):
		kind = "prefix"
	default:
		kind = "range"
	}
	text := clip.Text(key, maxText)
	part := text
	switch kind {
	case "all":
		part = "(all)"
	case "range":
		part += " to " + clip.Text(end, maxText)
	case "prefix", "from":
		part += " (" + kind + ")"
	}
	add(&r.parts, strings.TrimSpace(what+" "+part))
	if r.more {
		r.keyed(text)
		return
	}
	r.more = true
	o.Key, o.Range = table.NonEmpty(text), table.Some(kind)
	if kind == "range" {
		o.RangeEnd = table.Some(clip.Text(end, maxText))
	}
}

// next is the end of the range of a prefix: the last byte is one more, or without the bytes that cannot be.
func next(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			end := slices.Clone(prefix[:i+1])
			end[i]++
			return end
		}
	}
	return []byte{0}
}

// header reads the first field of every answer.
func (r *reader) header(b []byte) {
	for n, v := range fields(b) {
		if n != 1 {
			continue
		}
		for n, v := range fields(v.b) {
			if n == 3 {
				r.o.Revision = table.Some(int64(v.n))
			}
		}
	}
}

// stored reads a mvccpb.KeyValue.
func (r *reader) stored(b []byte) {
	for n, v := range fields(b) {
		switch n {
		case 1:
			r.keyed(v.key())
		case 5:
			r.value(v.b)
		}
	}
}

func (r *reader) value(b []byte) { r.o.ValueSize = table.Some(r.o.ValueSize.V + int64(len(b))) }

func (r *reader) leased(id uint64) {
	if id != 0 {
		r.o.Lease = table.Some(strconv.FormatUint(id, 16))
	}
}

func (r *reader) counted(n int64) { r.o.Count = table.Some(n) }

// listed reads LeaseLeasesResponse and MemberListResponse.
func (r *reader) listed(b []byte) {
	r.header(b)
	count := int64(0)
	for n := range fields(b) {
		if n == 2 {
			count++
		}
	}
	r.counted(count)
}
