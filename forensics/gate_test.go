package forensics_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
)

func TestSQLThatPassedTheGateIsRemembered(t *testing.T) {
	c := open(t, sample(t, "http1.pcapng"))
	const text = "SELECT count(*) FROM calls WHERE call_no < ?"
	for no := range int64(3) {
		if r := query(t, c, forensics.Query{SQL: text, Args: []any{no}}); r.Rows[0][0] != no {
			t.Errorf("%v calls, want %d", r.Rows[0][0], no)
		}
	}
	if n := forensics.Gated(c, 0); n != 1 {
		t.Errorf("%d texts are remembered, want 1", n)
	}
	for range 2 {
		if _, err := c.Query(ctx, forensics.Query{SQL: "SELECT * FROM read_text('/etc/passwd')"}); !errors.Is(err, forensics.ErrRefused) {
			t.Errorf("%v, want a refusal", err)
		}
	}
	query(t, c, forensics.Query{SQL: "SELECT 1 -- " + strings.Repeat("x", 20_000)})
	if n := forensics.Gated(c, 0); n != 1 {
		t.Errorf("%d texts are remembered after one that was refused and a long one, want 1", n)
	}
	aside, end, err := c.Aside(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	if err := aside.Keep(ctx, "few", forensics.Query{SQL: "SELECT call_no FROM calls LIMIT 2"}); err != nil {
		t.Fatal(err)
	}
	before := forensics.Gated(c, 0)
	if r := query(t, aside, forensics.Query{SQL: "SELECT * FROM few"}); len(r.Rows) != 2 {
		t.Errorf("%d rows, want 2", len(r.Rows))
	}
	if _, err := c.Query(ctx, forensics.Query{SQL: "SELECT * FROM few"}); err == nil {
		t.Error("a table of a case aside is one of the case")
	}
	if n := forensics.Gated(c, 0); n != before+2 {
		t.Errorf("%d texts are remembered, want %d: a case aside has other tables", n, before+2)
	}
	if n := forensics.Gated(c, 2000); n > 1000 {
		t.Errorf("%d texts are remembered", n)
	}
}
