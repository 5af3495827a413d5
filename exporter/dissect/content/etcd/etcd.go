// Package etcd reads calls of etcd's API version 3, which is gRPC: what was read, written, watched and
// leased, under which keys, and how many. Values are not in its columns.
package etcd

import (
	"strconv"
	"strings"
	"unicode"

	"github.com/pcapsule/pcapsule/exporter/dissect/content"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/clip"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Protocol describes it for readers.
var Protocol = content.Protocol{
	Name:     "etcd",
	Doc:      "API of etcd: keys, transactions, watches, leases, users, members",
	Versions: "version 3 (etcdserverpb, v3lockpb, v3electionpb)",
	Depth:    "operations with keys, ranges, conditions, counts, revisions, leases, users; keys of answers and watches",
	Inside:   []string{"grpc"},
}

// Operation is a call.
type Operation struct {
	Name      table.Opt[string] `col:"etcd_operation" enc:"dict" doc:"operation: the method's name in lower case, such as range, put, delete_range, txn, watch, lease_grant, authenticate, member_list. Not null in every call of etcd"`
	Key       table.Opt[string] `col:"etcd_key" doc:"first key that the client names, or the beginning of its range"`
	Range     table.Opt[string] `col:"etcd_range" enc:"dict" doc:"what etcd_key begins: key, prefix (all keys with this prefix), from (this key and all after it), all, or range"`
	RangeEnd  table.Opt[string] `col:"etcd_range_end" doc:"first key after the range, if etcd_range is range"`
	Keys      []string          `col:"etcd_keys" doc:"keys of the other operations of a transaction, of other watches, of the answer, and of a watch's events; each once, at most 32"`
	Condition table.Opt[string] `col:"etcd_condition" doc:"what a transaction compares, such as mod_revision(/jobs/7) = 12, without values"`
	Succeeded table.Opt[bool]   `col:"etcd_succeeded" doc:"whether the condition of a transaction was true"`
	Count     table.Opt[int64]  `col:"etcd_count" doc:"keys in the range, keys deleted, operations that a transaction carried out, leases or members listed"`
	Puts      table.Opt[int64]  `col:"etcd_puts" doc:"events of a watch that put a key; null if a gap made the count uncertain"`
	Deletes   table.Opt[int64]  `col:"etcd_deletes" doc:"events of a watch that deleted a key; null if a gap made the count uncertain"`
	ValueSize table.Opt[int64]  `col:"etcd_value_bytes" unit:"bytes" doc:"size of all values in the request and in the answer"`
	Revision  table.Opt[int64]  `col:"etcd_revision" doc:"revision of the store in the last answer"`
	Lease     table.Opt[string] `col:"etcd_lease" doc:"lease in hexadecimal digits, as etcdctl shows it"`
	TTL       table.Opt[int64]  `col:"etcd_ttl" unit:"s" doc:"time to live of the lease in the last answer"`
	User      table.Opt[string] `col:"etcd_user" enc:"dict" doc:"user that an operation of Auth is about"`
	Role      table.Opt[string] `col:"etcd_role" enc:"dict" doc:"role that an operation of Auth is about"`
	Reason    table.Opt[string] `col:"etcd_cancel_reason" doc:"why the server ended a watch, or did not grant a lease"`
}

// Read implements content.Reader.
func Read(x *content.Exchange, o *Operation) bool {
	m, ok := methods[x.Path.V]
	if !ok || !x.Path.OK {
		return false
	}
	_, method, _ := strings.Cut(x.Path.V[1:], "/")
	o.Name = table.Some(words(method))
	r := reader{o: o, seen: map[string]bool{}}
	r.read(&x.Request, m.request)
	r.read(&x.Response, m.answer)
	r.name(x)
	return true
}

// words is the name of a method in lower case with underscores: DeleteRange is delete_range.
func words(method string) string {
	var b strings.Builder
	lower := false
	for _, c := range method {
		if unicode.IsUpper(c) && lower {
			b.WriteByte('_')
		}
		lower = !unicode.IsUpper(c)
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}

// name sets the summary, and fails the call if the server did not do what it was asked for.
func (r *reader) name(x *content.Exchange) {
	o := r.o
	o.Condition = content.Some(strings.Join(r.conditions, " and "))
	what := "etcd " + o.Name.V
	if o.Condition.OK {
		what += " if " + o.Condition.V + ":"
	}
	x.Name(strings.TrimSpace(what+" "+strings.Join(r.parts, ", ")), "etcd "+o.Name.V)
	switch {
	case o.Name.V == "watch" && !x.Response.Lost:
		o.Puts, o.Deletes = table.Some(r.puts), table.Some(r.deletes)
		x.Add(", " + clip.Count(r.puts, "put", "puts") + ", " + clip.Count(r.deletes, "delete", "deletes"))
	case o.Succeeded.OK && o.Succeeded.V:
		x.Add(", condition true")
	case o.Succeeded.OK:
		x.Add(", condition false")
	case o.Count.OK:
		x.Add(", " + strconv.FormatInt(o.Count.V, 10))
	}
	if o.Reason.OK {
		x.Add(", " + o.Reason.V)
		x.Fail(table.ClientError, o.Reason.V)
	}
}
