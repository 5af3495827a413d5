package forensics_test

import (
	"context"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
)

func TestACaseAsideKeepsRows(t *testing.T) {
	ctx := context.Background()
	c, err := forensics.Open(ctx, []string{sample(t, "shop.pcapng")}, forensics.Options{MaskSecrets: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	aside, end, err := c.Aside(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := aside.Keep(ctx, "web", forensics.Query{SQL: "SELECT call_no, src_service, headers FROM calls WHERE protocol = ?", Args: []any{"http1"}}); err != nil {
		t.Fatal(err)
	}
	if got, want := number(t, aside, "SELECT count(*) FROM web"), number(t, c, "SELECT count(*) FROM calls WHERE protocol = 'http1'"); got != want || got == 0 {
		t.Errorf("%d rows, want %d", got, want)
	}
	if n := number(t, aside, "SELECT count(*) FROM web JOIN calls USING (call_no) WHERE web.headers <> calls.headers"); n != 0 {
		t.Errorf("%d rows with other headers than calls has", n)
	}
	for _, x := range []struct {
		why  string
		c    *forensics.Case
		name string
		q    forensics.Query
	}{
		{"rows of a case that others ask", c, "web", forensics.Query{SQL: "SELECT 1"}},
		{"a table of the case", aside, "calls", forensics.Query{SQL: "SELECT 1"}},
		{"what is kept already", aside, "WEB", forensics.Query{SQL: "SELECT 1"}},
		{"a question without SQL", aside, "more", forensics.Query{KFL: "http"}},
		{"what the gate refuses", aside, "more", forensics.Query{SQL: "FROM read_csv('/etc/passwd')"}},
		{"what does not parse", aside, "more", forensics.Query{SQL: "SELECT FROM WHERE"}},
		{"a column that is not there", aside, "more", forensics.Query{SQL: "SELECT nothing FROM calls"}},
	} {
		if err := x.c.Keep(ctx, x.name, x.q); err == nil {
			t.Errorf("%s is kept", x.why)
		}
	}
	if _, err := c.Query(ctx, forensics.Query{SQL: "SELECT * FROM web"}); err == nil {
		t.Error("another question sees what was kept")
	}
	end()
	if _, err := aside.Query(ctx, forensics.Query{SQL: "SELECT 1"}); err == nil {
		t.Error("a case aside that was ended answers")
	}
	if number(t, c, "SELECT count(*) FROM calls") == 0 {
		t.Error("the case itself no longer answers")
	}
}
