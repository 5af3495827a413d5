// Package web is the page that pcapsule open and pcapsule serve show. It is a client of the REST
// paths and of nothing else: it has no data and no logic about traffic, so it needs no token.
//
// Folder src has its source and third the libraries; go run ./web/build writes dist, which is
// embedded. The page runs no inline script or style, loads nothing from elsewhere, and never
// parses text of a capture as markup (docs/design/033-page.md).
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"net/http"
	"sync"
)

//go:embed dist
var dist embed.FS

// files maps a path to a file and its media type.
var files = map[string]struct{ name, media string }{
	frame: {"dist/frame.html", "text/html; charset=utf-8"},

	"/":              {"dist/index.html", "text/html; charset=utf-8"},
	"/page/page.js":  {"dist/page.js", "text/javascript; charset=utf-8"},
	"/page/page.css": {"dist/page.css", "text/css; charset=utf-8"},
	"/page/icon.svg": {"dist/icon.svg", "image/svg+xml"},
}

// policy allows the page its own script, style and server only, and no text as markup or script.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
	"require-trusted-types-for 'script'; trusted-types 'none'"

// framePolicy is that of the preview of a report. The page loads it in a sandbox, so it has no origin: the style of the
// report may be inline, but only the script of the page runs, and nothing is loaded.
var framePolicy = sync.OnceValue(func() string {
	text, _ := dist.ReadFile(files[frame].name) // without the file there is no script to allow
	_, script, _ := bytes.Cut(text, []byte("<script>"))
	script, _, _ = bytes.Cut(script, []byte("</script>"))
	sum := sha256.Sum256(script)
	return "sandbox allow-scripts; default-src 'none'; script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
})

// frame is the document of the preview.
const frame = "/page/frame.html"

// Has reports whether path is a file of the page.
func Has(path string) bool {
	_, ok := files[path]
	return ok
}

// Handler serves the files of the page.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, ok := files[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		text, err := dist.ReadFile(f.name)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError) // dist lacks a file; the test of this package would find it
			return
		}
		h := w.Header()
		h.Set("Content-Type", f.media)
		h.Set("Content-Security-Policy", policy)
		if r.URL.Path == frame {
			h.Set("Content-Security-Policy", framePolicy())
		}
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-cache")
		_, _ = w.Write(text) // the client may be gone
	})
}
