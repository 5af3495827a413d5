package etcd

import (
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/table"
)

// span reads a RangeRequest, a DeleteRangeRequest, or an UnlockRequest.
func (r *reader) span(b []byte) { r.spanOf("", b) }

func (r *reader) spanOf(what string, b []byte) {
	key, end := ends(b, 1)
	r.target(what, key, end)
}

// found reads a RangeResponse.
func (r *reader) found(b []byte) {
	r.header(b)
	r.counted(0) // proto3 omits 0
	for n, v := range fields(b) {
		switch n {
		case 2:
			r.stored(v.b)
		case 4:
			r.counted(int64(v.n))
		}
	}
}

// put reads a PutRequest.
func (r *reader) put(b []byte) { r.putOf("", b) }

func (r *reader) putOf(what string, b []byte) {
	var key []byte
	for n, v := range fields(b) {
		switch n {
		case 1:
			key = v.b
		case 2:
			r.value(v.b)
		case 3:
			r.leased(v.n)
		}
	}
	r.target(what, key, nil)
}

// previous reads a PutResponse.
func (r *reader) previous(b []byte) {
	r.header(b)
	for n, v := range fields(b) {
		if n == 2 {
			r.stored(v.b)
		}
	}
}

// deleted reads a DeleteRangeResponse.
func (r *reader) deleted(b []byte) {
	r.header(b)
	r.counted(0)
	for n, v := range fields(b) {
		switch n {
		case 2:
			r.counted(int64(v.n))
		case 3:
			r.stored(v.b)
		}
	}
}

// txn reads a TxnRequest.
func (r *reader) txn(b []byte, depth int) {
	if depth > maxDepth {
		return
	}
	for n, v := range fields(b) {
		switch n {
		case 1:
			r.compare(v.b)
		case 2:
			r.operation("", v.b, depth)
		case 3:
			r.operation("else ", v.b, depth)
		}
	}
}

// operation reads a RequestOp of the success or of the failure branch.
func (r *reader) operation(branch string, b []byte, depth int) {
	for n, v := range fields(b) {
		switch n {
		case 1:
			r.spanOf(branch+"range", v.b)
		case 2:
			r.putOf(branch+"put", v.b)
		case 3:
			r.spanOf(branch+"delete_range", v.b)
		case 4:
			r.txn(v.b, depth+1)
		}
	}
}

var (
	signs   = []string{"=", ">", "<", "!="}                                            // Compare.CompareResult
	targets = []string{"version", "create_revision", "mod_revision", "value", "lease"} // Compare.CompareTarget
)

// compare reads a Compare.
func (r *reader) compare(b []byte) {
	sign, target, number, key := uint64(0), uint64(0), "0", ""
	for n, v := range fields(b) {
		switch n {
		case 1:
			sign = v.n
		case 2:
			target = v.n
		case 3:
			key = v.key()
		case 4, 5, 6:
			number = strconv.FormatInt(int64(v.n), 10)
		case 7:
			number = "…"
		case 8:
			number = strconv.FormatUint(v.n, 16)
		}
	}
	if sign < uint64(len(signs)) && target < uint64(len(targets)) {
		add(&r.conditions, targets[target]+"("+key+") "+signs[sign]+" "+number)
	}
}

// txnAnswer reads a TxnResponse.
func (r *reader) txnAnswer(b []byte) {
	r.header(b)
	r.txnResults(b, 0)
}

func (r *reader) txnResults(b []byte, depth int) {
	succeeded, count := false, int64(0)
	for n, v := range fields(b) {
		switch n {
		case 2:
			succeeded = v.n != 0
		case 3:
			count++
			r.result(v.b, depth)
		}
	}
	if depth == 0 {
		r.o.Succeeded, r.o.Count = table.Some(succeeded), table.Some(count)
	}
}

// result reads a ResponseOp. Its answers have the revisions of the transaction.
func (r *reader) result(b []byte, depth int) {
	for n, v := range fields(b) {
		switch {
		case n == 1:
			r.found(v.b)
		case n == 2:
			r.previous(v.b)
		case n == 3:
			r.deleted(v.b)
		case n == 4 && depth < maxDepth:
			r.txnResults(v.b, depth+1)
		}
	}
}

// watch reads a WatchRequest: a stream may have several watches.
func (r *reader) watch(b []byte) {
	for n, v := range fields(b) {
		if n == 1 {
			r.span(v.b)
		}
	}
}

// events reads a WatchResponse.
func (r *reader) events(b []byte) {
	r.header(b)
	for n, v := range fields(b) {
		switch n {
		case 5:
			if v.n > 0 {
				r.o.Reason = table.Some("compacted to revision " + strconv.FormatUint(v.n, 10))
			}
		case 6:
			if len(v.b) > 0 {
				r.o.Reason = some(string(v.b))
			}
		case 11:
			r.event(v.b)
		}
	}
}

func (r *reader) event(b []byte) {
	del := false
	for n, v := range fields(b) {
		switch n {
		case 1:
			del = v.n == 1
		case 2:
			r.stored(v.b)
		}
	}
	if del {
		r.deletes++
	} else {
		r.puts++
	}
}
