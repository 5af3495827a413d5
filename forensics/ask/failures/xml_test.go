package failures_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
	"github.com/pcapsule/pcapsule/forensics/ask/failures"
)

// TestKFLMatchesXML filters by the contents of XML bodies: in one query, by page, as a scope, and
// after the deadline.
func TestKFLMatchesXML(t *testing.T) {
	const kind = "text/xml"
	w := &asktest.Made{}
	for i := range 30 {
		body := fmt.Sprintf(`<?xml version="1.0"?><s:Envelope xmlns:s="urn:s"><s:Body><order id="o-%d"><item><id>5</id></item><item><id>%d</id></item></order></s:Body></s:Envelope>`, i, i%3)
		answer := fmt.Sprintf("<result><code>%d</code></result>", i%2)
		if i == 7 {
			answer = `<!DOCTYPE result [<!ENTITY x "1">]><result><code>&x;</code></result>`
		}
		w.HTTP(float64(i)*10, 2, "soap", 1, 2, "POST /soap", "Content-Type: text/xml\r\n", body, "200 OK", kind, answer)
	}
	w.HTTP(400, 2, "json", 3, 2, "POST /json", "", `{"order":"o-1"}`, "200 OK", asktest.JSON, "<html><br></html>")
	c := w.Open(t)
	for kfl, want := range map[string]int{
		`request.body.xml()`: 30,
		`request.body.xml().Envelope.Body.order["@id"] == "o-17"`:                             1,
		`request.body.xml().Envelope.Body.order.item[1].id == 2`:                              10,
		`request.body.xml()..item.id == 2 && response.body.xml().result.code == 1`:            5,  // 2, 5, 11, …, 29 of which the odd ones
		`response.body.xml().result.code == 1`:                                                14, // except the one with a document type
		`http && !response.body.xml()`:                                                        2,
		`request.body.xml().Envelope.Body.order.item.exists(i, i.id == "5") && !(1 == 1)`:     0,
		`request.body.xml()..order["@id"].matches("^o-2.$") && request.body.contains("item")`: 10,
	} {
		res, err := c.Query(ctx, forensics.Query{KFL: kfl, Columns: []string{"call_no"}})
		if err != nil {
			t.Fatalf("%s: %v", kfl, err)
		}
		if len(res.Rows) != want {
			t.Errorf("%s: %d calls, want %d", kfl, len(res.Rows), want)
		}
	}
	const code = `response.body.xml().result.code == 0`
	seen := map[any]bool{}
	for cursor := ""; ; {
		res, err := c.Query(ctx, forensics.Query{KFL: code, Columns: []string{"call_no"}, Limit: 4, Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range res.Rows {
			seen[r[0]] = true
		}
		if cursor = res.Next; cursor == "" {
			break
		}
	}
	if len(seen) != 15 {
		t.Errorf("%d calls by page, want 15", len(seen))
	}
	f, err := failures.Ask(ctx, c, failures.In{Scope: ask.Scope{KFL: code}})
	if err != nil || f.Calls != 15 {
		t.Errorf("as the scope of a question: %+v, %v", f, err)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.Query(over, forensics.Query{KFL: `request.body.xml().never.asked == "before"`}); !errors.Is(err, context.Canceled) && !errors.Is(err, forensics.ErrDeadline) {
		t.Errorf("a query after its deadline: %v", err)
	}
	x, err := c.Explain(ctx, forensics.Query{KFL: `request.body.xml()..order["@id"] == "o-3"`, Columns: []string{"call_no"}})
	if err != nil || len(x.Args) != 1 || strings.Contains(x.SQL, "o-3") || !slices.Contains(x.Reads, "request_body_sha256") {
		t.Fatalf("explained: %+v, %v", x, err)
	}
	if res, err := c.Query(ctx, forensics.Query{SQL: x.SQL, Args: x.Args}); err != nil || len(res.Rows) != 1 {
		t.Errorf("what is shown, asked: %v", err)
	}
}
