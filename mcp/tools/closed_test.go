package tools

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/finding/all"
)

// open are the texts of inputs that can have any value, or one that only the traffic, the columns of a case, or a
// grammar knows.
const open = ` accept after allow[] at baseline_from baseline_to before bpf_filter bucket call_id call_ids[] client columns[] cursor
 db dst duration end file filter from from_namespace group_by[] id inside[] ip kfl label labels labels.* name name_regex
 namespace namespaces[] nodes[] ns order owners[] path pattern pod request_id rules service sha256 shift snapshot sql src
 start svc table text to trace_id via workload `

// TestClosedLists: every text of an input that is one of a closed list has an enum, so a new text has to be declared
// or listed above.
func TestClosedLists(t *testing.T) {
	env := &Env{Allow: []string{"/"}, Open: func(context.Context, []string) (*forensics.Case, error) { return nil, nil }}
	// These names are a closed list in one tool and open in another.
	closed := map[string]int{"list_objects.type": 0, "get_service_map.group_by": 1, "get_latency.order": 1, "get_latency.parts[]": 1,
		"list_findings.names[]": 10, "controls.controls[]": 50, "controls.frameworks[]": 8, "list_workloads.type": 2, "list_l4_flows.aggregate": 4,
		"list_l4_flows.l4proto": 5, "export_pcap.context": 2}
	var walk func(place string, s *jsonschema.Schema)
	walk = func(place string, s *jsonschema.Schema) {
		if s == nil {
			return
		}
		tool, name, _ := strings.Cut(place, ".")
		if least, listed := closed[place]; listed {
			delete(closed, place)
			if len(s.Enum) < least {
				t.Errorf("%s has %d values in its enum, want at least %d", place, len(s.Enum), least)
			}
		} else if (s.Type == "string" || slices.Contains(s.Types, "string")) && len(s.Enum) == 0 && !strings.Contains(strings.ReplaceAll(open, "\n", ""), " "+name+" ") {
			t.Errorf("%s of %s is a text without an enum: declare its values with Allow, or list it as open", name, tool)
		}
		for _, p := range slices.Sorted(maps.Keys(s.Properties)) {
			walk(place+"."+p, s.Properties[p])
		}
		walk(place+"[]", s.Items)
		if s.AdditionalProperties != nil && s.AdditionalProperties.Not == nil {
			walk(place+".*", s.AdditionalProperties)
		}
	}
	for _, e := range env.entries(all.Questions()) {
		walk(e.Name, e.In)
	}
	for place := range closed {
		t.Errorf("no input has %s", place)
	}
}
