package bundle

import (
	"reflect"
	"testing"
)

func TestLacksOfDerivedBundles(t *testing.T) {
	filter := Lack{LackFilter, 7, "only connections of calls that match http and of shop/web were kept"}
	policy := &DerivedPolicy{Name: "cards"}
	for _, tt := range []struct {
		name string
		d    *Derived
		want []Lack
	}{
		{"no derived bundle", nil, nil},
		{"a cut by filter and workload", &Derived{Packets: DerivedCount{Removed: 7}, Cut: &DerivedCut{Filter: "http", Workload: "shop/web"}}, []Lack{filter}},
		{"a cut by pods and packets", &Derived{Packets: DerivedCount{Removed: 7}, Cut: &DerivedCut{Pods: "namespaces shop", Packets: "port 80"}},
			[]Lack{{LackFilter, 7, "only connections of the pods of namespaces shop and with a packet that matches port 80 were kept"}}},
		{"a cut to a time lacks nothing of it", &Derived{Packets: DerivedCount{Removed: 7}, Cut: &DerivedCut{FromNs: new(Time)}}, nil},
		{"a cut to a time of a cut", &Derived{From: DerivedFrom{Lacks: []Lack{filter}}, Cut: &DerivedCut{FromNs: new(Time)}}, []Lack{filter}},
		{"a cut to namespaces", &Derived{Cut: &DerivedCut{Namespaces: []string{"a", "b"}}}, []Lack{{LackFilter, 0, "only connections of the namespaces a, b were kept"}}},
		{"a redaction", &Derived{Packets: DerivedCount{Changed: 3}, Policy: policy}, []Lack{{LackRedaction, 3, "the policy cards removed values"}}},
		{"a redaction that removes packets", &Derived{Packets: DerivedCount{Changed: 3, Removed: 2}, Policy: policy},
			[]Lack{{LackRedaction, 3, "the policy cards removed values"}, {LackFilter, 2, "the policy cards removed packets"}}},
		{"names merged into a redacted bundle", &Derived{Kind: Merged, From: DerivedFrom{Lacks: []Lack{{Reason: LackRedaction}}}}, []Lack{{Reason: LackRedaction}}},
	} {
		if got := tt.d.Lacks(); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
