package redact

import "testing"

func TestRemovalPolicies(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		ok         bool
	}{
		{"empty but for its version", "version: 1\n", true},
		{"all keys", "version: 1\nextends: none\nname: a\nbodies: [\"*\"]\ncomments: keep\ntests:\n  - {text: a, becomes: a}\n", true},
		{"no version", "extends: none\n", false},
		{"an unknown key", "version: 1\nbodys: [a]\n", false},
		{"an unknown key of a test", "version: 1\ntests:\n  - {txt: a}\n", false},
		{"comments that are neither", "version: 1\ncomments: some\n", false},
		{"an empty content type", "version: 1\nbodies: [\"\"]\n", false},
	} {
		if r, err := ParseRemoval([]byte(tt.text)); (err == nil) != tt.ok || (r == nil) == tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestWholeBodies(t *testing.T) {
	r, err := ParseRemoval([]byte("version: 1\nbodies: [application/*, text/plain]\n"))
	if err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[string]bool{"application/json; charset=utf-8": true, "Text/Plain": true, "text/html": false, "": false} {
		if r.WholeBody(kind) != want {
			t.Errorf("%q: %v", kind, !want)
		}
	}
}

func FuzzParseRemoval(f *testing.F) {
	f.Add("version: 1\nextends: none\nkeys: [pin]\ntests:\n  - {type: sql, text: a, becomes: b}\n", `{"pin":1234}`)
	f.Fuzz(func(t *testing.T, policy, text string) {
		r, err := ParseRemoval([]byte(policy))
		if (r == nil) == (err == nil) {
			t.Fatal("neither a policy nor an error")
		}
		if r != nil {
			finder := r.Finder(func(string, string, string, bool) {})
			finder.Text("", text)
			finder.Header("cookie", text)
			finder.Payload(text)
		}
	})
}
