package resource

import (
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/pcapsule/pcapsule/recorder/ring"
)

var created = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

func duration(d time.Duration) *meta.Duration { return &meta.Duration{Duration: d} }

func TestWindow(t *testing.T) {
	for _, tt := range []struct {
		name     string
		spec     Spec
		from, to string // or the error in from
		ok       bool
	}{
		{"the last minute", Spec{Last: duration(time.Minute)}, "2026-03-02T08:59:01.000000000Z", "2026-03-02T09:00:01.000000000Z", true},
		{"two times", Spec{From: "2026-03-02T08:00:00Z", To: "2026-03-02T09:30:00.5+01:00"}, "2026-03-02T08:00:00.000000000Z", "2026-03-02T08:30:00.500000000Z", true},
		{"an end in the near future", Spec{From: "2026-03-02T08:00:00Z", To: "2026-03-02T10:00:00Z"}, "2026-03-02T08:00:00.000000000Z", "2026-03-02T10:00:00.000000000Z", true},
		{"around an event", Spec{Around: "2026-03-02T08:00:00Z"}, "2026-03-02T07:59:00.000000000Z", "2026-03-02T08:01:00.000000000Z", true},
		{"before an event only", Spec{Around: "2026-03-02T08:00:00Z", Before: duration(time.Hour), After: duration(0)}, "2026-03-02T07:00:00.000000000Z", "2026-03-02T08:00:00.000000000Z", true},
		{"an event and a window", Spec{Around: "2026-03-02T08:00:00Z", From: "2026-03-02T08:00:00Z", To: "2026-03-02T08:00:00Z"}, "give one of", "", false},
		{"an event and a length", Spec{Around: "2026-03-02T08:00:00Z", Last: duration(time.Hour)}, "give one of", "", false},
		{"sides of no event", Spec{Last: duration(time.Hour), Before: duration(time.Hour)}, "need around", "", false},
		{"a negative side", Spec{Around: "2026-03-02T08:00:00Z", After: duration(-time.Hour)}, "after is", "", false},
		{"an event without a time", Spec{Around: "noon"}, "RFC 3339", "", false},
		{"an event next week", Spec{Around: "2026-03-09T08:00:00Z"}, "in the future", "", false},
		{"none", Spec{}, "no window", "", false},
		{"only a begin", Spec{From: "2026-03-02T08:00:00Z"}, "no window", "", false},
		{"both forms", Spec{Last: duration(time.Minute), To: "2026-03-02T08:00:00Z"}, "give one of", "", false},
		{"zero", Spec{Last: duration(0)}, "must be more than 0", "", false},
		{"negative", Spec{Last: duration(-time.Hour)}, "must be more than 0", "", false},
		{"a year", Spec{Last: duration(366 * 24 * time.Hour)}, "at most", "", false},
		{"inverted", Spec{From: "2026-03-02T08:00:00Z", To: "2026-03-02T07:00:00Z"}, "ends before it begins", "", false},
		{"no time", Spec{From: "yesterday", To: "2026-03-02T07:00:00Z"}, "RFC 3339", "", false},
		{"quotes", Spec{From: `"`, To: `2026-03-02T07:00:00Z`}, "RFC 3339", "", false},
		{"beyond 64 bits", Spec{From: "2026-03-02T07:00:00Z", To: "9999-03-02T07:00:00Z"}, "outside", "", false},
		{"next week", Spec{From: "2026-03-02T07:00:00Z", To: "2026-03-09T07:00:00Z"}, "in the future", "", false},
		{"before 1970", Spec{From: "1960-03-02T07:00:00Z", To: "1969-03-09T07:00:00Z"}, "ends before it begins", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &Snapshot{Spec: tt.spec, ObjectMeta: meta.ObjectMeta{CreationTimestamp: meta.Time{Time: created}}}
			from, to, err := s.Window()
			if !tt.ok {
				if !errors.Is(err, ErrSpec) || !strings.Contains(err.Error(), tt.from) {
					t.Errorf("%v, want %q", err, tt.from)
				}
				return
			}
			if err != nil || from.String() != tt.from || to.String() != tt.to {
				t.Errorf("%s to %s, %v", from, to, err)
			}
			s.Status.From, s.Status.To = from.String(), to.String()
			s.Spec.Last, s.CreationTimestamp = duration(time.Hour), meta.Time{Time: created.Add(time.Hour)}
			if again, end, err := s.Window(); err != nil || again != from || end != to {
				t.Errorf("it moved to %s, %s, %v", again, end, err)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name string
		spec Spec
		want string
	}{
		{"nothing", Spec{}, ""},
		{"nodes", Spec{Nodes: []string{"a", "b.example", "c-1"}, Patience: duration(0), RetainFor: duration(time.Hour)}, ""},
		{"an upward node", Spec{Nodes: []string{"../x"}}, "cannot be the name"},
		{"two dots", Spec{Nodes: []string{"a..b"}}, "cannot be the name"},
		{"an empty node", Spec{Nodes: []string{""}}, "cannot be the name"},
		{"a slash", Spec{Nodes: []string{"a/b"}}, "cannot be the name"},
		{"a long node", Spec{Nodes: []string{strings.Repeat("a", 254)}}, "cannot be the name"},
		{"twice", Spec{Nodes: []string{"a", "b", "a"}}, "twice"},
		{"many", Spec{Nodes: make([]string, 5001)}, "the limit is 5000"},
		{"negative patience", Spec{Patience: duration(-1)}, "patience"},
		{"no retention", Spec{RetainFor: duration(0)}, "retainFor"},
		{"a selection", Spec{Select: Selection{Namespaces: []string{"shop"}, Workloads: []string{"shop/web", "shop/Deployment/web"}, Labels: "app=web,tier in (a, b)", Filter: "port 80", KFL: "http && failed"}}, ""},
		{"a bad KFL", Spec{Select: Selection{KFL: "http &&"}}, "invalid filter: kfl: line 1, column 8"},
		{"a field that KFL does not know", Spec{Select: Selection{KFL: "http && statuscode == 1"}}, "invalid filter: kfl: line 1, column 9"},
		{"a bad filter", Spec{Select: Selection{Filter: "port eighty"}}, "invalid filter: filter: compiling filter: at byte 5"},
		{"bad labels", Spec{Select: Selection{Labels: "app in web"}}, "invalid filter: labels"},
		{"a namespace that is a path", Spec{Select: Selection{Namespaces: []string{"../x"}}}, "namespace"},
		{"a workload without a namespace", Spec{Select: Selection{Workloads: []string{"web"}}}, "use NAMESPACE/NAME"},
		{"a workload with an empty kind", Spec{Select: Selection{Workloads: []string{"shop//web"}}}, "use NAMESPACE/NAME"},
		{"many workloads", Spec{Select: Selection{Workloads: slices.Repeat([]string{"a/b"}, 101)}}, "more than 100"},
		{"a long filter", Spec{Select: Selection{Filter: strings.Repeat("x", 4097)}}, "more than 4096 bytes"},
	} {
		err := (&Snapshot{Spec: tt.spec}).Check()
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestObject(t *testing.T) {
	at := meta.NewTime(created)
	s := &Snapshot{ObjectMeta: meta.ObjectMeta{Name: "x", Namespace: "y"}, Spec: Spec{Last: duration(time.Minute), Nodes: []string{"a"}},
		Status: Status{Phase: Ready, From: ring.Time(1).String(), Nodes: []Node{{Name: "a", State: Bundled, Packets: 3}}, CompletedAt: &at,
			Conditions: []meta.Condition{{Type: Done, Status: meta.ConditionTrue, Reason: "x", LastTransitionTime: at}}}}
	u, err := s.Object()
	if err != nil {
		t.Fatal(err)
	}
	back, err := FromObject(u)
	if err != nil || back.Spec.Last.Duration != time.Minute || back.Status.Nodes[0] != s.Status.Nodes[0] || !back.Status.CompletedAt.Equal(&at) {
		t.Errorf("%+v, %v", back, err)
	}
}

// schemaOf is the schema in a manifest.
func schemaOf(t *testing.T, file string) node {
	t.Helper()
	text, err := os.ReadFile("../../deploy/kustomize/base/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema node `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &crd); err != nil {
		t.Fatal(err)
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema
}

// TestSchema checks that the schema in the manifest has exactly the fields of the Go values: the
// API server removes others silently.
func TestSchema(t *testing.T) {
	schedules := schemaOf(t, "snapshotschedules.yaml")
	compare(t, "spec", schedules.Properties["spec"], reflect.TypeFor[ScheduleSpec]())
	compare(t, "status", schedules.Properties["status"], reflect.TypeFor[ScheduleStatus]())
	captures := schemaOf(t, "captures.yaml")
	compare(t, "spec", captures.Properties["spec"], reflect.TypeFor[CaptureSpec]())
	compare(t, "status", captures.Properties["status"], reflect.TypeFor[CaptureStatus]())
	if got, want := captures.Properties["status"].Properties["phase"].Enum, []string{Recording, Pending, Collecting, Bundling, Ready, Failed, Lost}; !slices.Equal(got, want) {
		t.Errorf("phases %v, want %v", got, want)
	}
	if got, want := schedules.Properties["spec"].Properties["incidents"].Items.Enum, kinds; !slices.Equal(got, want) {
		t.Errorf("incidents %v, want %v", got, want)
	}
	root := schemaOf(t, "snapshots.yaml")
	compare(t, "spec", root.Properties["spec"], reflect.TypeFor[Spec]())
	compare(t, "status", root.Properties["status"], reflect.TypeFor[Status]())
	if got, want := root.Properties["status"].Properties["phase"].Enum, []string{Pending, Collecting, Bundling, Ready, Failed, Lost}; !slices.Equal(got, want) {
		t.Errorf("phases %v, want %v", got, want)
	}
	if got, want := root.Properties["status"].Properties["nodes"].Items.Properties["state"].Enum, []string{Waiting, Receiving, Received, Bundled, Missing, Failed}; !slices.Equal(got, want) {
		t.Errorf("states %v, want %v", got, want)
	}
}

type node struct {
	Type       string
	Enum       []string
	Properties map[string]node
	Items      *node
}

func compare(t *testing.T, at string, n node, typ reflect.Type) {
	t.Helper()
	var fields []string
	for f := range typ.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		fields = append(fields, name)
		p, ok := n.Properties[name]
		if !ok {
			t.Errorf("the schema has no %s.%s", at, name)
			continue
		}
		if f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct && p.Items != nil {
			compare(t, at+"."+name, *p.Items, f.Type.Elem())
		}
		if f.Type == reflect.TypeFor[Selection]() {
			compare(t, at+"."+name, p, f.Type)
		}
	}
	for name := range n.Properties {
		if !slices.Contains(fields, name) {
			t.Errorf("the schema has %s.%s, which nothing sets", at, name)
		}
	}
}

// TestLiveRows: which nodes send rows only, and what no node can be.
func TestLiveRows(t *testing.T) {
	for _, tt := range []struct {
		name  string
		spec  LiveSpec
		rows  string // of nodes a and b
		wrong bool
	}{
		{"packets of all", LiveSpec{}, "", false},
		{"rows of one", LiveSpec{Rows: []string{"b"}}, "b", false},
		{"rows of all", LiveSpec{Nodes: []string{"a", "b"}, Rows: []string{"*"}}, "ab", false},
		{"a path", LiveSpec{Rows: []string{"../b"}}, "", true},
		{"all nodes have no name", LiveSpec{Nodes: []string{"*"}}, "", true},
	} {
		got := ""
		for _, n := range []string{"a", "b"} {
			if tt.spec.RowsOf(n) {
				got += n
			}
		}
		if err := (&LiveConfig{Spec: tt.spec}).Check(); got != tt.rows || (err != nil) != tt.wrong {
			t.Errorf("%s: %q, %v, want %q", tt.name, got, err, tt.rows)
		}
	}
}
