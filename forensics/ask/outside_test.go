package ask_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/terms"
)

// TestClientsOutsideHaveOneName compares the names that answers give to all clients outside without a name.
func TestClientsOutsideHaveOneName(t *testing.T) {
	c := asktest.Open(t, "shop.pcapng")
	for _, q := range []struct{ name, in, part string }{
		{"get_service_map", `{}`, "nodes"}, {"get_dependencies", `{"service":"gateway"}`, "upstream"}, {"find_failures", `{}`, "groups"}, {"describe_service", `{"service":"gateway"}`, "callers"},
		{"describe_service", `{"service":"gateway"}`, "handshakes"}, {"get_timeline", `{"workload":"gateway"}`, "activity"}, {"audit_access", `{"service":"gateway"}`, "pairs"}, {"trace_request", `{"kfl":"src.external"}`, "hops"},
	} {
		text, err := json.Marshal(asktest.Put(t, c, q.name, q.in)[q.part])
		if err != nil {
			t.Fatal(err)
		}
		if got := string(text); !strings.Contains(got, `"`+terms.AnyOutside+`"`) || strings.Contains(got, `"src":"outside"`) || strings.Contains(got, "198.51.100.") {
			t.Errorf("%s %s: %.600s", q.name, q.part, got)
		}
	}
}

// TestOutsideIsAName gives (outside), as answers write it, to each question that asks for the name of an end, and to KFL.
func TestOutsideIsAName(t *testing.T) {
	c := asktest.Open(t, "shop.pcapng")
	want := asktest.Matching(t, c, `src.kind == "outside" and !src.dns and !src.hostname`)
	if all := asktest.Matching(t, c, "protocol"); want == 0 || want == all {
		t.Fatalf("%d of %d calls are from outside", want, all)
	}
	for filter, n := range map[string]int64{`src.who == "(outside)"`: want, `src.name == "(outside)"`: want, `src.who in ["(outside)", "x"]`: want, `src.who != "(outside)" and src.who == "(outside)"`: 0,
		`dst.who == "(outside)"`: asktest.Matching(t, c, `dst.kind == "outside" and !dst.dns and !dst.hostname`), `src.who != "(outside)"`: asktest.Matching(t, c, "src.who") - want} {
		if got := asktest.Matching(t, c, filter); got != n {
			t.Errorf("%s: %d calls, want %d", filter, got, n)
		}
	}
	needs := map[string]string{"get_pair": `"dst":"gateway"`, "search_content": `"text":"shop"`}
	asked := 0
	for _, q := range asktest.Questions() {
		for _, field := range slices.Sorted(maps.Keys(q.In.Properties)) {
			if !slices.Contains([]string{"service", "workload", "client", "server", "src"}, field) {
				continue
			}
			asked++
			in := fmt.Sprintf("{%q:%q", field, terms.AnyOutside)
			if more := needs[q.Name]; more != "" {
				in += "," + more
			}
			out := asktest.Put(t, c, q.Name, in+"}")
			notes := fmt.Sprint(out["notes"])
			if strings.Contains(notes, "is called (outside)") || strings.Contains(notes, "stands for") || out["matched"] == "nothing_matched" && field != "service" && !q.File && q.Name != "list_external" {
				t.Errorf("%s %s: matched %v, %s", q.Name, field, out["matched"], notes)
			}
			calls, _ := out["calls"].(float64)
			if q.Name == "find_failures" && field == "client" && calls != float64(want) {
				t.Errorf("find_failures: %v calls, want %d", calls, want)
			}
		}
	}
	if asked < 15 {
		t.Errorf("only %d fields", asked)
	}
	var none string
	for _, name := range []string{terms.AnyOutside, "outsid"} {
		none += ask.UnknownName(ctx, c, name) + "\n"
	}
	if !strings.HasPrefix(none, "(outside) stands for outside addresses without a name: the recording has none\n") {
		t.Error(none)
	}
}
