package mcp

import (
	_ "embed" // the description of what is asked over plain HTTP
	"net/http"
)

// OpenAPI describes what is asked over plain HTTP (OpenAPI 3.0.3, YAML).
//
//go:embed openapi.yaml
var OpenAPI string

func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write([]byte(OpenAPI)) // the client may be gone
}
