// Package linked keeps values in the order in which they were added.
//
// A value contains its links, so removing it needs no search, and adding it allocates nothing.
package linked

// List lists values, oldest first. The zero value is empty.
type List[T any] struct{ oldest, newest *Place[T] }

// Place is where a value is in a List. A value needs one for each list that it can be in.
type Place[T any] struct {
	prev, next *Place[T]
	value      *T
}

// Add adds v, whose place is p, as the newest value. p must not be in a list.
func (l *List[T]) Add(p *Place[T], v *T) {
	*p = Place[T]{prev: l.newest, value: v}
	if p.prev != nil {
		p.prev.next = p
	} else {
		l.oldest = p
	}
	l.newest = p
}

// Remove removes the value whose place is p. p must be in l.
func (l *List[T]) Remove(p *Place[T]) {
	if p.prev != nil {
		p.prev.next = p.next
	} else {
		l.oldest = p.next
	}
	if p.next != nil {
		p.next.prev = p.prev
	} else {
		l.newest = p.prev
	}
	*p = Place[T]{}
}

// Oldest returns the oldest value, or nil.
func (l *List[T]) Oldest() *T { return l.oldest.of() }

// Newest returns the newest value, or nil.
func (l *List[T]) Newest() *T { return l.newest.of() }

// Next returns the value that was added next, or nil.
func (p *Place[T]) Next() *T { return p.next.of() }

// Prev returns the value that was added before, or nil.
func (p *Place[T]) Prev() *T { return p.prev.of() }

func (p *Place[T]) of() *T {
	if p == nil {
		return nil
	}
	return p.value
}
