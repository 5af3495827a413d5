package redact

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// plainly is next without the quick checks: it fully checks every byte of a text.
func (sc *scanner) plainly(s string) (list []Match) {
	done := 0
	for i := 0; i < len(s); {
		if sc.look[s[i]] == 0 {
			i++
			continue
		}
		m, next := sc.at(s, i, done)
		if m.End > 0 {
			list = append(list, m)
			done, next = m.End, m.End
		}
		i = max(next, i+1)
	}
	return list
}

// plainly is judge without the cache and the quick checks.
func (p *Policy) plainly(name string) verdict {
	if name == "" || len(name) > maxName {
		return no
	}
	if v := p.keys.judge(name); v == no || p.except.judge(name) != yes {
		return v
	}
	return no
}

// pieces are parts of secrets and of the text around them.
var pieces = strings.Split("4|41|411|4111|4111111111111111|1111|378282246310005|3782|822463|10005|5500000000000004|6011|DE|DE89|GB29|NWBK|370400440532013000|3704|0044|0532|0130|00| |  |-|--|.|,|:|=|==|\"|'|\\|/|//|://|@|_|+|(|)|~|&|%|?|#|;|[|]|<|>|{|}|\n|\t|"+
	"a|b|B|e|E|y|Y|J|ey|eyJ|eyJhbGci|k|K|S|A|AKIA|ASIA|IOSFODNN7EXAMPLE|AI|AIza|z|ya29|ya29.|hooks|.slack.com/services/|T00000000/B00000000/XXXXXXXX|xoxb|xoxp-|xapp|glpat|ghp|gho_|github|_pat_|sk|rk|_live_|"+
	"a1a1a1a1a1a1a1a1a1a1|A1b2C3d4E5f6G7h8J9k0|bearer|Bearer |basic |Basic|dXNlcjpwYXNz|key|Key|KEY|_key|aws_secret_access_key|AccountKey|shared-access-key|secret|SecretAccessKey|wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY|"+
	"ann|example.com|mail|.de|123|45|6789|123-45-6789|+49|30|12345678|212|555|0188|(212) |8Q~|abc|-----BEGIN |PRIVATE KEY|RSA |-----|-----END |http|postgres://|app|s3cret|password|user|token|page_token|sid|api%5Fkey|pass%77ord|X-Api-Key|Cookie|"+
	"%40|%20|%2B|%3D|%26|%zz|%4|0|7|2026-01-02T12:30:11|é|\xff|5f0c7c1e-9c8b-4f7a-a3d1-0b7f6a1c2d3e|[masked]|null", "|")

// made returns a random text of pieces.
func made(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(24) {
		b.WriteString(pieces[r.IntN(len(pieces))])
	}
	return b.String()
}

// asSlowly compares the fast code with the plain code.
func asSlowly(t *testing.T, p *Policy, s string) {
	t.Helper()
	if quick, slow := Find(s), everything().plainly(s); !slices.Equal(quick, slow) {
		t.Fatalf("%q: found %+v, slowly %+v", s, quick, slow)
	}
	b := []byte(s)
	inBytes, want := FindBytes(b), Find(s)
	for i := range b {
		b[i] = 'x'
	}
	if !slices.Equal(inBytes, want) {
		t.Fatalf("%q: found in bytes that have changed since %+v, want %+v", s, inBytes, want)
	}
	for _, d := range detectors() {
		if quick, slow := d.Find(s), d.scan.plainly(s); !slices.Equal(quick, slow) {
			t.Fatalf("%s in %q: found %+v, slowly %+v", d.Kind, s, quick, slow)
		}
	}
	quick, slow := task{p: p}, task{p: p}
	if a, b := quick.form(s), slow.parameters(s); a != b || quick.n != slow.n {
		t.Fatalf("form %q: %q, %d places; slowly %q, %d", s, a, quick.n, b, slow.n)
	}
	for name := range strings.FieldsFuncSeq(s, func(c rune) bool { return strings.ContainsRune("&=:?; ", c) }) {
		for range 2 {
			if v, want := quick.judge(name), p.plainly(name); v != want {
				t.Fatalf("name %q: verdict %d, slowly %d", name, v, want)
			}
			if v, want := p.SecretHeader(name), p.secretHeader(name); v != want {
				t.Fatalf("header %q: %t, slowly %t", name, v, want)
			}
		}
	}
}

func slowPolicies(t testing.TB) (list []*Policy) {
	for _, text := range []string{"version: 1", "version: 1\ndetectors: [all]\nkeys: ['user.card.*', '$.top.x', 'a.b']\nexcept: ['*_key']\npatterns: [{name: order, match: '^4-\\d+'}]",
		"version: 1\nextends: none\nkeys: ['12', 'é*', 'x*y*z']\nmask: xx\npatterns: [{name: a, match: 'ann.*example'}]"} {
		p, err := Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

func TestQuickIsAsSlow(t *testing.T) {
	list := slowPolicies(t)
	r := rand.New(rand.NewPCG(1, 2))
	hits := 0
	for i := range 20_000 {
		s := made(r)
		asSlowly(t, list[i%len(list)], s)
		hits += len(Find(s))
	}
	for _, tt := range findTexts {
		asSlowly(t, list[1], tt.text)
	}
	if hits < 1000 {
		t.Errorf("only %d matches in the generated texts", hits)
	}
}

func FuzzQuickIsAsSlow(f *testing.F) {
	list := slowPolicies(f)
	r := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		f.Add(made(r))
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, p := range list {
			asSlowly(t, p, s)
		}
	})
}
