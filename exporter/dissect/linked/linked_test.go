package linked

import (
	"slices"
	"testing"
)

type item struct {
	name  string
	place Place[item]
}

func TestList(t *testing.T) {
	items := map[string]*item{}
	for _, name := range []string{"a", "b", "c", "d"} {
		items[name] = &item{name: name}
	}
	for _, tc := range []struct {
		name   string
		remove []string
		add    []string
		want   string
	}{
		{"in the order added", nil, nil, "abcd"},
		{"without the oldest", []string{"a"}, nil, "bcd"},
		{"without the newest", []string{"d"}, nil, "abc"},
		{"without one between", []string{"b"}, nil, "acd"},
		{"without any", []string{"b", "a", "d", "c"}, nil, ""},
		{"added again", []string{"b", "a", "d", "c"}, []string{"c", "a"}, "ca"},
		{"the oldest becomes the newest", []string{"a"}, []string{"a"}, "bcda"},
	} {
		var l List[item]
		for _, name := range []string{"a", "b", "c", "d"} {
			l.Add(&items[name].place, items[name])
		}
		for _, name := range tc.remove {
			l.Remove(&items[name].place)
		}
		for _, name := range tc.add {
			l.Add(&items[name].place, items[name])
		}
		var forth, back string
		for i := l.Oldest(); i != nil; i = i.place.Next() {
			forth += i.name
		}
		for i := l.Newest(); i != nil; i = i.place.Prev() {
			back += i.name
		}
		reversed := []byte(back)
		slices.Reverse(reversed)
		if forth != tc.want || string(reversed) != tc.want {
			t.Errorf("%s: %q and backwards %q, want %q", tc.name, forth, back, tc.want)
		}
	}
}
