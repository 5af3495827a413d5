package mcp

import (
	"net/http"
)

// route is one way to ask over HTTP without MCP, and how discovery tells of it.
type route struct {
	Path        string  `json:"path"`
	Method      string  `json:"method"`
	Description string  `json:"description"`
	Params      []param `json:"params"`

	handle http.HandlerFunc // nil: served elsewhere
}

type param struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Required    bool   `json:"required"`
	Description string `json:"description"`
}

// routes lists the ways to ask over HTTP; a new one is one line here.
func (s *Server) routes() []route {
	none := []param{}
	return append([]route{
		{Path: "/mcp", Method: "GET", Description: "This list; with Accept: text/event-stream the event stream of an MCP session", Params: none},
		{Path: "/mcp", Method: "POST", Description: "MCP over streamable HTTP, revisions 2024-11-05 to " + newest, Params: none},
		{Path: "/mcp", Method: "DELETE", Description: "Ends an MCP session", Params: none},
	}, s.restRoutes()...)
}

// discover answers GET /mcp for those who do not speak MCP.
func (s *Server) discover(w http.ResponseWriter) {
	raw, err := marshal(struct {
		Name        string  `json:"name"`
		Version     string  `json:"version"`
		Description string  `json:"description"`
		Endpoints   []route `json:"endpoints"`
	}{"pcapsule", s.o.Release, "Evidence bundles of network traffic: calls, flows, packets and findings, with coverage and citations", s.routes()})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(raw) // the client may be gone
}
