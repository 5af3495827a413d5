package mcp

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/kfl/nearest"
	"github.com/pcapsule/pcapsule/mcp/object"
	"github.com/pcapsule/pcapsule/mcp/rpc"
	"github.com/pcapsule/pcapsule/mcp/store"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// route is one REST operation and its description.
type route struct {
	Path        string  `json:"path"`
	Method      string  `json:"method"`
	Description string  `json:"description"`
	Params      []param `json:"params"`

	handle http.HandlerFunc   // nil: served elsewhere
	body   *jsonschema.Schema // of a POST
	answer *jsonschema.Schema // nil: media
	media  string             // media type of an answer other than JSON
	stream bool               // the answer continues until the client ends it
}

type param struct {
	Name        string   `json:"name"`
	Type        string   `json:"type"`
	Required    bool     `json:"required"`
	Description string   `json:"description"`
	Min         int64    `json:"minimum,omitempty"` // of an integer
	Max         int64    `json:"maximum,omitempty"`
	Enum        []string `json:"enum,omitempty"` // all values; empty: any
}

// check validates the parameters of a request. An unknown parameter is an error that suggests the
// nearest name, because ignoring it would answer a different question.
func (rt route) check(r *http.Request) error {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return store.BadRequest("query string: %s", ask.Clip(err.Error(), 100))
	}
	var names []string
	for _, p := range rt.Params {
		if !strings.Contains(rt.Path, "{"+p.Name+"}") {
			names = append(names, p.Name)
		}
	}
	for name := range query {
		if slices.Contains(names, name) {
			continue
		}
		hint := "this path has none"
		if len(names) > 0 {
			hint = cmp.Or(nearest.Hint(name, names), "must be one of "+strings.Join(names, ", "))
		}
		return store.BadRequest("parameter %q: unknown; %s", ask.Clip(name, 50), hint)
	}
	missing := error(nil)
	for _, p := range rt.Params {
		switch values := query[p.Name]; {
		case len(values) > 1:
			return store.BadRequest("parameter %s: given %d times, must be given once", p.Name, len(values))
		case len(values) == 1:
			if err := p.check(values[0]); err != nil {
				return err
			}
		case p.Required && r.Method == http.MethodGet && slices.Contains(names, p.Name):
			missing = store.BadRequest("parameter %s: missing: %s", p.Name, p.Description)
		}
	}
	return missing
}

// check validates the value of a parameter.
func (p param) check(value string) error {
	if p.Type == "integer" {
		if n, err := strconv.ParseInt(value, 10, 64); err != nil || n < p.Min || n > p.Max {
			return store.BadRequest("parameter %s: %q, must be a whole number from %d to %d", p.Name, ask.Clip(value, 50), p.Min, p.Max)
		}
	}
	if len(p.Enum) > 0 && !slices.Contains(p.Enum, value) {
		return store.BadRequest("parameter %s: %q, must be one of %s", p.Name, ask.Clip(value, 50), strings.Join(p.Enum, ", "))
	}
	return nil
}

// strict returns a route's handler, which refuses invalid parameters.
func (s *Server) strict(rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := rt.check(r)
		if err == nil {
			rt.handle(w, r)
			return
		}
		if werr := s.logged(restCaller(r), time.Now(), "http "+r.Method, r.URL.Path, []byte(r.URL.RawQuery), &accessNote{}, err); werr != nil {
			err = werr
		}
		s.restError(w, err)
	}
}

// routes lists the routes; to add one, add a line here.
func (s *Server) routes() []route {
	none := []param{}
	return append([]route{
		{Path: "/mcp", Method: "GET", Description: "This list; with Accept: text/event-stream the event stream of an MCP session", Params: none, answer: tools.Schema[discovery]("/mcp")},
		{Path: "/mcp", Method: "POST", Description: "MCP over streamable HTTP, revisions 2024-11-05 to " + rpc.Newest, Params: none},
		{Path: "/mcp", Method: "DELETE", Description: "Ends an MCP session", Params: none},
	}, s.restRoutes()...)
}

// discovery is the answer to GET /mcp.
type discovery struct {
	Name        string  `json:"name"`
	Version     string  `json:"version"`
	Description string  `json:"description"`
	Endpoints   []route `json:"endpoints"`
}

// discover answers GET /mcp for clients that do not use MCP.
func (s *Server) discover(w http.ResponseWriter) {
	raw, err := object.Marshal(discovery{"pcapsule", s.o.Release, "Evidence bundles of network traffic: calls, flows, packets and findings, with coverage and citations", s.routes()})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(raw) // the client may be gone
}
