package mcp

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/internal/when"
	"github.com/pcapsule/pcapsule/mcp/store"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// Reports makes reports on a case.
type Reports struct {
	Templates []ReportTemplate
	Formats   []string // html first
	// Write writes a report. mask masks a text; nil: nothing is masked.
	Write func(ctx context.Context, c *forensics.Case, r ReportRequest, w io.Writer) error
}

// ReportTemplate is a template that comes with the program.
type ReportTemplate struct {
	Name  string `json:"template"`
	Title string `json:"title"`
	About string `json:"what"`
}

// ReportRequest says what is in a report, in which format.
type ReportRequest struct {
	Template, Format, Title, KFL, From, To string
	Mask                                   func(string) string
}

// reportList is the answer to GET /mcp/reports.
type reportList struct {
	Templates []ReportTemplate `json:"templates"`
	Formats   []string         `json:"formats"`
}

// reportMedia are the media types of formats.
var reportMedia = map[string]string{"html": "text/html; charset=utf-8", "md": "text/markdown; charset=utf-8", "json": "application/json", "csv": "text/csv; charset=utf-8",
	"xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "pdf": "application/pdf"}

// reportRoutes lists the routes about reports.
func (s *Server) reportRoutes(db param, millis func(string) param) []route {
	text := func(name, doc string) param { return param{Name: name, Type: "string", Description: doc} }
	list := route{Path: "/mcp/reports", Method: http.MethodGet, Description: "Templates and formats of reports", Params: []param{}}
	one := route{Path: "/mcp/report", Method: http.MethodGet, Description: "A report on the open bundles, as the command report writes it; the media type is that of the format", media: "text/html", handle: s.restReport,
		Params: []param{text("template", "one of GET /mcp/reports; default overview"), text("format", "html (the default), md, json, csv, xlsx or pdf"), text("title", "title of the report"), db, text("kfl", "KFL filter"), millis("start"), millis("end")}}
	return []route{one, typed(s, list, true, func(context.Context, *tools.Invocation, *question) (reportList, error) {
		if s.o.Reports == nil {
			return reportList{[]ReportTemplate{}, []string{}}, nil
		}
		return reportList{s.o.Reports.Templates, s.o.Reports.Formats}, nil
	})}
}

// restReport answers with a report.
func (s *Server) restReport(w http.ResponseWriter, r *http.Request) {
	begin, x, t := time.Now(), &question{r: r, q: r.URL.Query()}, &accessNote{}
	slow := &Server{o: s.o, sdk: s.sdk, cases: s.cases, env: s.env, long: s.long, short: s.short, aside: s.aside, own: s.own}
	slow.o.Deadline = max(s.o.Deadline, forensics.LongTime)
	req := ReportRequest{Template: cmp.Or(x.get("template"), "overview"), Format: cmp.Or(x.get("format"), "html"), Title: x.get("title"), KFL: x.get("kfl")}
	if n := x.number("start"); n != 0 {
		req.From = when.Stamp(n * int64(time.Millisecond))
	}
	if n := x.number("end"); n != 0 {
		req.To = when.Stamp((n+1)*int64(time.Millisecond) - 1)
	}
	var out bytes.Buffer
	err := s.reportError(req)
	if err == nil {
		err = slow.withDB(r.Context(), restCaller(r), x.get("db"), long, func(ctx context.Context, a *tools.Invocation) error {
			if s.o.Policy != nil {
				known, err := a.Case.Known(ctx)
				if err != nil {
					return err
				}
				req.Mask = func(text string) string { return known.Mask(s.o.Policy.Sentence(text)) }
			}
			return s.o.Reports.Write(ctx, a.Case, req, &out)
		})
	}
	t.bytes = out.Len()
	if werr := s.logged(restCaller(r), begin, "http "+r.Method, r.URL.Path, []byte(r.URL.RawQuery), t, err); werr != nil {
		err = werr
	}
	if err != nil {
		s.restError(w, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", reportMedia[req.Format])
	h.Set("Content-Disposition", `attachment; filename="`+req.Template+"."+req.Format+`"`)
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'") // a browser that shows it anyway runs and loads nothing
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set(trustHeader, tools.TrustNote)
	_, _ = w.Write(out.Bytes()) // the client may be gone
}

// reportError returns what is wrong with the names in a request.
func (s *Server) reportError(r ReportRequest) error {
	if s.o.Reports == nil {
		return store.BadRequest("this server makes no reports")
	}
	var names []string
	for _, t := range s.o.Reports.Templates {
		names = append(names, t.Name)
	}
	if !slices.Contains(names, r.Template) {
		return store.BadRequest("parameter template: must be one of %s", strings.Join(names, ", "))
	}
	if !slices.Contains(s.o.Reports.Formats, r.Format) || reportMedia[r.Format] == "" {
		return store.BadRequest("parameter format: must be one of %s", strings.Join(s.o.Reports.Formats, ", "))
	}
	return nil
}
