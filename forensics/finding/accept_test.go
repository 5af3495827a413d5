package finding

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask"
)

const entry = "  - finding: weak-tls/0a1b2c3d4e5f\n    reason: replaced in March\n    by: Ann Miller\n    until: 2026-03-31\n"

func TestAcceptListsAreStrict(t *testing.T) {
	for text, want := range map[string]string{
		"version: 1\naccepted:\n" + entry: "",
		"":                                "",
		"version: 1\naccepted: []\n":      "",
		"# nothing\n":                     "the list is empty",
		"version: 2\naccepted: []\n":      `line 1, column 10: version "2" is not supported`,
		"version: 1\n":                    "line 1, column 1: accepted is missing",
		"- a\n":                           "line 1, column 1: must be a map with version, accepted",
		"version: 1\nacepted: []\n":       `line 2, column 1: unknown key "acepted"; did you mean accepted?`,
		"version: 1\naccepted: yes\n":     "line 2, column 11: accepted must be a list",
		"version: 1\naccepted:\n" + entry + entry:                                             "line 7, column 14: finding weak-tls/0a1b2c3d4e5f is accepted twice",
		"version: 1\naccepted: [\n":                                                           "line 3: expected a value",
		"version: 1\naccepted:\n  - finding: a: b\n":                                          "line 3: a second : in one line",
		"version: 1\naccepted:\n" + strings.Replace(entry, "2026-03-31", "March", 1):          `line 6, column 12: until must be a day such as 2026-12-31, not "March"`,
		"version: 1\naccepted:\n" + strings.Replace(entry, "2026-03-31", "2026-02-30", 1):     "until must be a day",
		"version: 1\naccepted:\n" + strings.Replace(entry, "weak-tls/0a1b2c3d4e5f", "RC4", 1): "line 3, column 14: finding must be the id of a finding",
		"version: 1\naccepted:\n" + strings.Replace(entry, "replaced in March", `""`, 1):      "line 4, column 13: reason must be a text",
		"version: 1\naccepted:\n" + strings.Replace(entry, "    by: Ann Miller\n", "", 1):     "line 3, column 5: by is missing",
		"version: 1\naccepted:\n" + strings.Replace(entry, "until:", "untill:", 1):            `line 6, column 5: unknown key "untill"; did you mean until?`,
		"version: 1\naccepted:\n" + strings.Replace(entry, "Ann Miller", "[Ann, Bob]", 1):     "line 5, column 9: by must be a text",
		"version: 1\nversion: 1\naccepted: []\n":                                              "line 2, column 1: version occurs twice",
	} {
		_, err := ParseAccept([]byte(text))
		var wrong *ask.InputError
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", text, err)
		case want != "" && (!errors.As(err, &wrong) || wrong.Field != "accept" || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestAcceptedFindingsAreMarked(t *testing.T) {
	a, err := ParseAccept([]byte("version: 1\naccepted:\n" + entry + strings.Replace(entry, "0a1b2c3d4e5f", "ffffffffffff", 1) + strings.Replace(entry, "0a1b2c3d4e5f", "eeeeeeeeeeee", 1)))
	if err != nil {
		t.Fatal(err)
	}
	made := func() *Out {
		return &Out{Findings: []Finding{{ID: "weak-tls/0a1b2c3d4e5f", Last: "2026-03-31T23:59:59.000000000Z"}, {ID: "weak-tls/eeeeeeeeeeee", Last: "2026-04-01T00:00:00.000000000Z"}, {ID: "scan/000000000000", Last: "2026-01-01T00:00:00.000000000Z"}}}
	}
	out := made()
	a.mark(out, false)
	if len(out.Findings) != 3 || !out.Findings[0].Accepted.Valid() || out.Findings[0].Accepted.Reason != "replaced in March" || out.Findings[1].Accepted.Valid() || !out.Findings[1].Accepted.Expired || out.Findings[2].Accepted != nil {
		t.Errorf("%+v", out.Findings)
	}
	if len(out.Notes) != 1 || out.Notes[0] != "1 entry of the accept list matches no finding in this window: weak-tls/ffffffffffff" {
		t.Errorf("notes %q", out.Notes)
	}
	out = made()
	if a.mark(out, true); len(out.Notes) > 0 {
		t.Errorf("a narrowed answer notes %q", out.Notes)
	}
}

func TestCompareFindings(t *testing.T) {
	list := func(ids ...string) (out []Finding) {
		for _, id := range ids {
			f := Finding{ID: strings.TrimRight(id, "+-")}
			if f.ID != id {
				f.Accepted = &Acceptance{Expired: strings.HasSuffix(id, "-")}
			}
			out = append(out, f)
		}
		return out
	}
	ids := func(list []Finding) (out []string) {
		for _, f := range list {
			out = append(out, f.ID)
		}
		return out
	}
	c := Compare(list("a", "b", "c", "d", "e"), list("f", "e-", "c", "b+", "g+"))
	for name, got := range map[string]struct{ got, want []string }{"new": {ids(c.New), []string{"f"}}, "fixed": {ids(c.Fixed), []string{"a", "d"}},
		"accepted": {ids(c.Accepted), []string{"b", "g"}}, "unchanged": {ids(c.Unchanged), []string{"e", "c"}}} {
		if !slices.Equal(got.got, got.want) {
			t.Errorf("%s: %v, want %v", name, got.got, got.want)
		}
	}
}
