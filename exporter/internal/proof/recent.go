package proof

import "unsafe"

// recent is a map that drops its oldest keys while it has more than limit keys.
type recent[K comparable, V any] struct {
	m     map[K]V
	order []K // a ring, oldest at next once it is full
	next  int
}

// memory is the map's memory in bytes, if each value points to that many more bytes.
func (r *recent[K, V]) memory(each int) int {
	var k K
	var v V
	return cap(r.order)*int(unsafe.Sizeof(k)) + len(r.m)*(mapCost*int(unsafe.Sizeof(k)+unsafe.Sizeof(v))/2+each)
}

// mapCost is the memory of a map entry, in halves of its size.
const mapCost = 3

func (r *recent[K, V]) put(k K, v V, limit int) {
	if r.m == nil {
		r.m = map[K]V{}
	}
	if _, again := r.m[k]; !again {
		if len(r.order) < limit {
			r.order = append(r.order, k)
		} else {
			delete(r.m, r.order[r.next])
			r.order[r.next] = k
			r.next = (r.next + 1) % limit
		}
	}
	r.m[k] = v
}
