// Package etcd reads calls of etcd's API version 3, which is gRPC: what was read, written, watched and
// leased, under which keys, and how many. Values are not in its columns.
package etcd

import (
	"iter"
	"strconv"
	"strings"
	"unicode"

	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// Operation is a call.
type Operation struct {
	Name      table.Opt[string] `col:"etcd_operation" enc:"dict" doc:"operation: the method's name in lower case, such as range, put, delete_range, txn, watch, lease_grant, authenticate, member_list. Not null in every call of etcd"`
	Key       table.Opt[string] `col:"etcd_key" doc:"first key that the client names, or the beginning of its range"`
	Range     table.Opt[string] `col:"etcd_range" enc:"dict" doc:"what etcd_key begins: key, prefix (all keys with this prefix), from (this key and all after it), all, or range"`
	RangeEnd  table.Opt[string] `col:"etcd_range_end" doc:"first key after the range, if etcd_range is range"`
	Keys      []string          `col:"etcd_keys" doc:"keys of the other operations of a transaction, of other watches, of the answer, and of a watch's events; each once, at most 32"`
	Condition table.Opt[string] `col:"etcd_condition" doc:"comparison of a transaction, such as mod_revision(/jobs/7) = 12, without values"`
	Succeeded table.Opt[bool]   `col:"etcd_succeeded" doc:"whether the condition of a transaction was true"`
	Count     table.Opt[int64]  `col:"etcd_count" doc:"keys in the range, keys deleted, operations that a transaction carried out, leases or members listed"`
	Puts      table.Opt[int64]  `col:"etcd_puts" doc:"events of a watch that put a key; null if a gap made the count uncertain"`
	Deletes   table.Opt[int64]  `col:"etcd_deletes" doc:"events of a watch that deleted a key; null if a gap made the count uncertain"`
	ValueSize table.Opt[int64]  `col:"etcd_value_bytes" unit:"bytes" doc:"size of all values in the request and in the answer"`
	Revision  table.Opt[int64]  `col:"etcd_revision" doc:"revision of the store in the last answer"`
	Lease     table.Opt[string] `col:"etcd_lease" doc:"lease in hexadecimal digits, as etcdctl shows it"`
	TTL       table.Opt[int64]  `col:"etcd_ttl" unit:"s" doc:"time to live of the lease in the last answer"`
	User      table.Opt[string] `col:"etcd_user" enc:"dict" doc:"user that is the object of an operation of Auth"`
	Role      table.Opt[string] `col:"etcd_role" enc:"dict" doc:"role that is the object of an operation of Auth"`
	Reason    table.Opt[string] `col:"etcd_cancel_reason" doc:"why the server ended a watch, or did not grant a lease"`
}

// Named is how a summary shows a call: before and after its result.
type Named struct{ What, End string }

// Read reads the messages of a gRPC call, of which some may be lost. It returns false if the path
// is not one of etcd's.
func Read(path string, request, answer iter.Seq[[]byte], lost bool, o *Operation) (Named, bool) {
	m, ok := methods[path]
	if !ok {
		return Named{}, false
	}
	_, name, _ := strings.Cut(path[1:], "/")
	o.Name = table.Some(words(name))
	r := reader{o: o, seen: map[string]bool{}, lost: lost}
	r.read(request, m.request)
	r.read(answer, m.answer)
	return r.named(), true
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

// named makes the parts of the summary, and sets the counts of a watch.
func (r *reader) named() (n Named) {
	o := r.o
	o.Condition = some(strings.Join(r.conditions, " and "))
	n.What = "etcd " + o.Name.V
	if o.Condition.OK {
		n.What += " if " + o.Condition.V + ":"
	}
	n.What = strings.TrimSpace(n.What + " " + strings.Join(r.parts, ", "))
	switch {
	case o.Name.V == "watch" && !r.lost:
		o.Puts, o.Deletes = table.Some(r.puts), table.Some(r.deletes)
		n.End = ", " + clip.Count(r.puts, "put", "puts") + ", " + clip.Count(r.deletes, "delete", "deletes")
	case o.Succeeded.OK && o.Succeeded.V:
		n.End = ", condition true"
	case o.Succeeded.OK:
		n.End = ", condition false"
	case o.Count.OK:
		n.End = ", " + strconv.FormatInt(o.Count.V, 10)
	}
	if o.Reason.OK {
		n.End += ", " + o.Reason.V
	}
	return n
}

// some is a text as an optional column.
func some(s string) table.Opt[string] { return table.NonEmpty(clip.Text(s, maxText)) }
