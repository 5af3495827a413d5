package mcp

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

//go:embed first.html
var firstHTML string

var firstPage = template.Must(template.New("first").Parse(firstHTML))

// first is the content of the first page.
type first struct {
	Release, Coverage, Ring, Config, Masked string
	Cases                                   []firstCase
	Tools                                   int
	Curl                                    []string
}

type firstCase struct{ Path, From, To, Packets, Calls string }

// serveFirst answers GET /connect with the open bundles and how to connect programs.
func (s *Server) serveFirst(w http.ResponseWriter, r *http.Request, token bool) {
	begin, t := time.Now(), &accessNote{}
	page, err := s.firstOf(r, token)
	if werr := s.logged(restCaller(r), begin, "http "+r.Method, r.URL.Path, nil, t, err); werr != nil {
		err = werr
	}
	if err != nil {
		s.restError(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	_ = firstPage.Execute(w, page) // the client may be gone
}

func (s *Server) firstOf(r *http.Request, token bool) (p first, err error) {
	p = first{Release: s.o.Release, Tools: len(s.tools), Masked: "Credentials are masked."}
	if s.o.Policy == nil {
		p.Masked = "Nothing is masked."
	}
	url := "http://" + r.Host
	if r.TLS != nil {
		url = "https://" + r.Host
	}
	entry, header := map[string]any{"type": "http", "url": url + "/mcp"}, ""
	if token {
		entry["headers"], header = map[string]string{"Authorization": "Bearer TOKEN"}, ` -H "Authorization: Bearer TOKEN"`
	}
	config, err := json.MarshalIndent(map[string]any{"mcpServers": map[string]any{"pcapsule": entry}}, "", "  ")
	if err != nil {
		return p, err
	}
	p.Config = string(config)
	for _, x := range []string{
		url + "/mcp/databases",
		"-G " + url + "/mcp/calls -d limit=10 --data-urlencode 'kfl=failed'",
		url + "/mcp/ask/find_failures --json '{\"limit\": 10}'",
		url + "/mcp/ask/get_overview --json '{}'",
	} {
		p.Curl = append(p.Curl, "curl -s"+header+" "+x)
	}
	err = s.withDB(r.Context(), restCaller(r), "", aside, func(ctx context.Context, a *tools.Invocation) error { return s.fillFirst(ctx, a, &p) })
	return p, err
}

// fillFirst adds the open bundles and the ring.
func (s *Server) fillFirst(ctx context.Context, a *tools.Invocation, p *first) error {
	if s.o.Store != nil {
		b, err := a.DataBoundaries(ctx, tools.NoIn{})
		if err != nil {
			return err
		}
		p.Ring = plural.Sprintf("%d {node|nodes}, %s to %s", len(b.Nodes), formatTime(b.Cluster.Oldest), formatTime(b.Cluster.Newest))
	}
	c, release, err := s.cases.Acquire()
	if err != nil {
		if s.o.Store != nil {
			return nil // only a ring
		}
		return err
	}
	defer release()
	a.Case = c
	list, err := a.ListCases(ctx, tools.NoIn{})
	if err != nil {
		return err
	}
	for _, x := range list.Cases {
		var calls []string
		for _, name := range slices.Sorted(maps.Keys(x.Calls)) {
			calls = append(calls, fmt.Sprintf("%s %d", name, x.Calls[name]))
		}
		p.Cases = append(p.Cases, firstCase{s.hide(x.Path), formatTime(x.From), formatTime(x.To), fmt.Sprint(x.Packets), strings.Join(calls, ", ")})
	}
	switch list.Coverage.State {
	case "complete":
		p.Coverage = "The whole time was recorded."
		if q := list.Coverage.Quiet; len(q) > 0 {
			p.Coverage = plural.Sprintf("For %d long {time|times}, the first from %s, there is no packet: nothing was sent, or nothing was recorded.", len(q), formatTime(q[0].From))
		}
		if list.Coverage.Unread {
			p.Coverage += " Some of it could not be read."
		}
	case "partial":
		p.Coverage = plural.Sprintf("Coverage has %d {gap|gaps}; list_cases lists them.", int64(len(list.Coverage.Holes))+list.Coverage.More)
	default:
		p.Coverage = "Nothing was recorded."
	}
	return nil
}

// formatTime formats a time for people, without fractions of a second.
func formatTime(stamp string) string {
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return stamp
	}
	return at.Format("2006-01-02 15:04:05")
}
