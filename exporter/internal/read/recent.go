package read

import "unsafe"

// recent is a map that forgets what was put first while more than limit keys are known.
type recent[K comparable, V any] struct {
	m     map[K]V
	order []K // a ring, oldest at next once it is full
	next  int
}

// memory is what the map takes, in bytes, where each value points to so many more.
func (r *recent[K, V]) memory(each int) int {
	var k K
	var v V
	return cap(r.order)*int(unsafe.Sizeof(k)) + len(r.m)*(mapCost*int(unsafe.Sizeof(k)+unsafe.Sizeof(v))/2+each)
}

// mapCost is what an entry of a map takes, in halves of its size.
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
