package mcp

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// TestReportsOverHTTP asks for reports in formats, with masks, and with names that do not exist.
func TestReportsOverHTTP(t *testing.T) {
	made := &Reports{Templates: []ReportTemplate{{"overview", "Traffic report", ""}, {"incident", "Incident report", ""}}, Formats: []string{"html", "pdf"}}
	made.Write = func(_ context.Context, c *forensics.Case, r ReportRequest, w io.Writer) error {
		text := "card 4111 1111 1111 1111"
		if r.Mask != nil {
			text = r.Mask(text)
		}
		_, err := fmt.Fprintf(w, "%s %s %s %s %s %d %s", r.Template, r.Format, r.KFL, r.From, r.To, len(c.Bundles()), text)
		return err
	}
	path := bundled(t, "http1.pcapng")
	for _, tc := range []struct {
		o      Options
		query  string
		status int
		media  string
		text   string
	}{
		{Options{Reports: made}, "", 200, "text/html; charset=utf-8", "overview html    1 card 4111 1111 1111 1111"},
		{Options{Reports: made}, "?template=incident&format=pdf&kfl=http&start=1000&end=2000", 200, "application/pdf", "incident pdf http 1970-01-01T00:00:01.000000000Z 1970-01-01T00:00:02.000999999Z 1 "},
		{Options{Reports: made, Policy: redact.Default()}, "", 200, "text/html; charset=utf-8", "overview html    1 card "},
		{Options{Reports: made}, "?template=none", 400, "application/json", "must be one of overview, incident"},
		{Options{Reports: made}, "?format=exe", 400, "application/json", "must be one of html, pdf"},
		{Options{}, "", 400, "application/json", "makes no reports"},
	} {
		web := httptest.NewServer(serving(t, tc.o, path).Handler(HTTPOptions{}))
		r, err := http.Get(web.URL + "/mcp/report" + tc.query)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || r.StatusCode != tc.status || r.Header.Get("Content-Type") != tc.media || !strings.Contains(string(text), tc.text) {
			t.Errorf("%q: %d %s %q, want %d %s %q", tc.query, r.StatusCode, r.Header.Get("Content-Type"), text, tc.status, tc.media, tc.text)
		}
		if shown := strings.Contains(string(text), "4111 1111 1111 1111"); r.StatusCode == 200 && shown != (tc.o.Policy == nil) {
			t.Errorf("%q: %q", tc.query, text)
		}
		if r.StatusCode == 200 && !strings.HasPrefix(r.Header.Get("Content-Security-Policy"), "sandbox;") {
			t.Errorf("%q: a browser may run it: %v", tc.query, r.Header)
		}
		list := restAnswerOf[reportList](t, web.URL+"/mcp/reports")
		if want := tc.o.Reports != nil; (len(list.Templates) == 2) != want || slices.Contains(list.Formats, "pdf") != want {
			t.Errorf("listed %+v", list)
		}
		web.Close()
	}
}

// TestMarksAreEventsOfTheTime asks for events around and outside of one.
func TestMarksAreEventsOfTheTime(t *testing.T) {
	web := httptest.NewServer(serving(t, Options{}, bundled(t, "shop.pcapng")).Handler(HTTPOptions{}))
	defer web.Close()
	all := restAnswerOf[tools.Marks](t, web.URL+"/mcp/marks")
	if len(all.Marks) != 1 || all.Marks[0].Event != "Unhealthy" || !all.Marks[0].Bad || all.Marks[0].Times != 4 || all.Marks[0].Kind != "kubernetes" {
		t.Fatalf("%+v", all)
	}
	at := int64(all.Marks[0].At)
	for query, want := range map[string]int{fmt.Sprintf("start=%d&end=%d", at, at): 1, fmt.Sprintf("end=%d", at-1): 0, fmt.Sprintf("start=%d", at+1): 0} {
		if got := restAnswerOf[tools.Marks](t, web.URL+"/mcp/marks?"+query); len(got.Marks) != want || got.Marks == nil {
			t.Errorf("%s: %+v", query, got)
		}
	}
}
