package forensics_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/kfl"
)

// claims are findings for a test.
type claims map[string][]int64

func (c claims) Names() []string                                       { return []string{"odd", "none"} }
func (c claims) Calls(_ context.Context, name string) ([]int64, error) { return c[name], nil }

func count(t *testing.T, c *forensics.Case, q forensics.Query) int64 {
	t.Helper()
	q.Count = true
	r, err := c.Query(ctx, q)
	if err != nil {
		t.Fatalf("%s: %v", q.KFL, err)
	}
	return r.Rows[0][0].(int64)
}

// TestLanguageOfACase filters by data in other tables, with one bundle and with two.
func TestLanguageOfACase(t *testing.T) {
	shop, web := sample(t, "shop.pcapng"), sample(t, "http1.pcapng")
	one := open(t, shop)
	two, err := forensics.Open(ctx, []string{shop, web}, forensics.Options{Macros: map[string]string{"mine": "http"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { two.Close() })
	all := count(t, one, forensics.Query{KFL: "http"})
	with := count(t, one, forensics.Query{KFL: "http && tcp.rtt >= 0ns && tcp.state"})
	if all == 0 || with == 0 || with > all {
		t.Errorf("%d of %d calls have a flow with a round trip", with, all)
	}
	if n := count(t, two, forensics.Query{KFL: "bundle == 0 && mine && tcp.rtt >= 0ns && tcp.state"}); n != with {
		t.Errorf("%d calls of the first bundle, want %d as alone", n, with)
	}
	// The same by hand.
	r, err := two.Query(ctx, forensics.Query{SQL: `SELECT count(*) FROM calls c JOIN flows f ON f.bundle = c.bundle AND f.flow_id = c.flow_id WHERE c.protocol LIKE 'http_' AND f.handshake_us > 20`})
	if err != nil {
		t.Fatal(err)
	}
	if n := count(t, two, forensics.Query{KFL: "http && tcp.handshake > 20us"}); n != r.Rows[0][0].(int64) || n == 0 {
		t.Errorf("%d calls by a handshake, SQL has %v", n, r.Rows[0][0])
	}
	for _, src := range []string{`request.body.json()..id == 1 || response.body.json().*.id == 1`, `response.body contains "a" && response.body.matches("[a-z]")`, `tls.cert_expired || tls.version_name == "TLS 1.3"`,
		`connection.encryption == "tls"`, `src.ip in ["10.0.0.0/8", "fd00::/8"]`, `headers.* == "x" || request.headers.* contains "curl"`} {
		if _, err := two.Query(ctx, forensics.Query{KFL: src, Limit: 1}); err != nil && !strings.Contains(err.Error(), "column headers") {
			t.Errorf("%s: %v", src, err)
		}
	}
	if n := count(t, one, forensics.Query{KFL: "mine", Macros: map[string]string{"mine": "http && status_code >= 200"}}); n == 0 {
		t.Error("a macro of the question matches nothing")
	}
	if res, err := one.Query(ctx, forensics.Query{KFL: "http and limit(3)"}); err != nil || len(res.Rows) != 3 {
		t.Errorf("limit(3): %v", err)
	}
}

// slow runs until the deadline of the query, like an analyzer of a large case.
type slow struct{ err error }

func (slow) Names() []string { return []string{"odd"} }

func (s slow) Calls(ctx context.Context, _ string) ([]int64, error) {
	<-ctx.Done()
	if s.err != nil {
		return nil, s.err
	}
	return nil, fmt.Errorf("looking for odd: %w", ctx.Err())
}

func TestFindingsEndWithTheQuestion(t *testing.T) {
	c := open(t, sample(t, "http1.pcapng"))
	const odd = `http && finding == "odd"`
	soon := func() context.Context {
		ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	var bad *kfl.Error
	for _, x := range []struct {
		name string
		f    forensics.Findings
		ask  func() error
		want error
	}{
		{"a question with a deadline", slow{}, func() error {
			_, err := c.Query(ctx, forensics.Query{KFL: odd, Deadline: time.Millisecond})
			return err
		}, forensics.ErrDeadline},
		{"a condition", slow{}, func() error { _, err := c.Condition(soon(), odd); return err }, forensics.ErrDeadline},
		{"an explanation", slow{}, func() error { _, err := c.Explain(soon(), forensics.Query{KFL: odd}); return err }, forensics.ErrDeadline},
		{"a canceled query", slow{}, func() error { _, err := c.Query(gone, forensics.Query{KFL: odd}); return err }, context.Canceled},
		{"too little memory", slow{forensics.ErrMemory}, func() error { _, err := c.Condition(soon(), odd); return err }, forensics.ErrMemory},
	} {
		c.UseFindings(x.f)
		if err := x.ask(); !errors.Is(err, x.want) || errors.As(err, &bad) {
			t.Errorf("%s: %v, want %v", x.name, err, x.want)
		}
	}
	c.UseFindings(claims{})
	if _, err := c.Condition(ctx, `finding == "nosuch"`); !errors.As(err, &bad) {
		t.Errorf("an unknown name: %v, want its place", err)
	}
}

func TestFindingsOfACase(t *testing.T) {
	shop, web := sample(t, "shop.pcapng"), sample(t, "http1.pcapng")
	c := open(t, shop)
	var bad *kfl.Error
	if _, err := c.Query(ctx, forensics.Query{KFL: `finding == "odd"`}); !errors.As(err, &bad) || !strings.Contains(bad.Msg, "not available here") {
		t.Errorf("without findings: %v", err)
	}
	c.UseFindings(claims{"odd": {c.CallNumber(0, 3), c.CallNumber(0, 5)}})
	if n := count(t, c, forensics.Query{KFL: `finding == "odd"`}); n != 2 {
		t.Errorf("%d calls, want 2", n)
	}
	two, err := forensics.Open(ctx, []string{shop, web}, forensics.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	two.UseFindings(claims{"odd": {two.CallNumber(1, 3), two.CallNumber(0, 5)}})
	res, err := two.Query(ctx, forensics.Query{KFL: `"odd" in findings`, Columns: []string{"bundle", "call_no"}})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range res.Rows {
		got = append(got, fmt.Sprint(r[0], " ", r[1]))
	}
	if slices.Sort(got); !slices.Equal(got, []string{"0 5", "1 3"}) {
		t.Errorf("%v", got)
	}
}

func TestExplain(t *testing.T) {
	c := open(t, sample(t, "http1.pcapng"))
	x, err := c.Explain(ctx, forensics.Query{KFL: `http and host=="it's"`, Columns: []string{"call_no"}})
	if err != nil {
		t.Fatal(err)
	}
	if x.KFL != `http && host == "it's"` || !strings.HasPrefix(x.SQL, `SELECT "call_no"`) || strings.Contains(x.SQL, "it's") || !slices.Contains(x.Args, any("it's")) || !slices.Equal(x.Reads, []string{"host", "protocol"}) {
		t.Errorf("%+v", x)
	}
	// The shown SQL can be run.
	if _, err := c.Query(ctx, forensics.Query{SQL: x.SQL, Args: x.Args}); err != nil {
		t.Error(err)
	}
	if _, err := c.Explain(ctx, forensics.Query{SQL: "SELECT 1"}); !errors.Is(err, forensics.ErrUsage) {
		t.Errorf("SQL: %v", err)
	}
	if _, err := c.Explain(ctx, forensics.Query{KFL: "htpp"}); err == nil {
		t.Error("a misspelt word is explained")
	}
}
