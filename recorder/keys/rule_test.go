package keys

import (
	"slices"
	"testing"
)

func TestRules(t *testing.T) {
	for _, tt := range []struct {
		rule string
		want Selector
		ok   bool
	}{
		{"pid:4711", Selector{PIDs: []uint32{4711}}, true},
		{"exe:nginx", Selector{Executables: []string{"nginx"}}, true},
		{"exe:/opt/*/bin/x", Selector{Executables: []string{"/opt/*/bin/x"}}, true},
		{"cgroup:a/b/", Selector{Cgroups: []string{"/a/b"}}, true},
		{"all", Selector{Executables: []string{"*"}}, true},
		{"", Selector{}, false},
		{"nginx", Selector{}, false},
		{"pid:0", Selector{}, false},
		{"pid:-1", Selector{}, false},
		{"pid:4294967296", Selector{}, false},
		{"exe:", Selector{}, false},
		{"exe:bin/x", Selector{}, false},
		{"exe:**", Selector{}, false},
		{"exe:[", Selector{}, false},
		{"cgroup:/", Selector{}, false},
		{"cgroup:/..", Selector{}, false},
		{"user:root", Selector{}, false},
	} {
		var s Selector
		err := s.Add(tt.rule)
		if (err == nil) != tt.ok {
			t.Errorf("%q: %v, want ok %v", tt.rule, err, tt.ok)
		}
		if tt.ok && (!slices.Equal(s.PIDs, tt.want.PIDs) || !slices.Equal(s.Executables, tt.want.Executables) || !slices.Equal(s.Cgroups, tt.want.Cgroups)) {
			t.Errorf("%q: %+v", tt.rule, s)
		}
	}
}
