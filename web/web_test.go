package web_test

import (
	"bytes"
	"errors"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evanw/esbuild/pkg/api"

	"github.com/pcapsule/pcapsule/web"
	"github.com/pcapsule/pcapsule/web/bundler"
)

// TestDistIsBuiltFromSource builds the page again and compares bytes.
func TestDistIsBuiltFromSource(t *testing.T) {
	files, err := bundler.Build(".")
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir("dist")
	if err != nil || len(list) != len(files) {
		t.Errorf("dist has %d files, the source makes %d: %v", len(list), len(files), err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join("dist", name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("dist/%s is not built from this source (%v): go run ./web/build", name, err)
		}
	}
}

// TestBuildNamesThePlaceOfAnError gives the bundler a folder without sources.
func TestBuildNamesThePlaceOfAnError(t *testing.T) {
	if _, err := bundler.Build(t.TempDir()); err == nil || !strings.Contains(err.Error(), "building the page") {
		t.Errorf("an empty folder: %v", err)
	}
}

// TestSize keeps the page small enough for a slow line.
func TestSize(t *testing.T) {
	const most = 200_000 // bytes of script and style before compression
	n := 0
	for _, name := range []string{"page.js", "page.css"} {
		text, err := os.ReadFile(filepath.Join("dist", name))
		if err != nil {
			t.Fatal(err)
		}
		n += len(text)
	}
	if n > most {
		t.Errorf("script and style have %d bytes, at most %d", n, most)
	}
}

func TestFilesAreServedWithAPolicy(t *testing.T) {
	for path, media := range map[string]string{"/page/frame.html": "text/html; charset=utf-8", "/": "text/html; charset=utf-8", "/page/page.js": "text/javascript; charset=utf-8", "/page/page.css": "text/css; charset=utf-8", "/page/icon.svg": "image/svg+xml"} {
		w := httptest.NewRecorder()
		web.Handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		csp := w.Header().Get("Content-Security-Policy")
		if w.Code != 200 || !web.Has(path) || w.Header().Get("Content-Type") != media || w.Body.Len() == 0 {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
		if path == "/page/frame.html" { // the preview of a report has its style inside, and no origin
			if !strings.Contains(csp, "default-src 'none'; script-src 'sha256-") || !strings.HasPrefix(csp, "sandbox allow-scripts;") {
				t.Errorf("%s: policy %q", path, csp)
			}
			continue
		}
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || !strings.Contains(csp, "require-trusted-types-for 'script'") || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: policy %q", path, csp)
		}
	}
	for _, path := range []string{"/page", "/page/", "/page/../web.go", "/mcp"} {
		w := httptest.NewRecorder()
		if web.Handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil)); w.Code != 404 || web.Has(path) {
			t.Errorf("%s is a file of the page: %d", path, w.Code)
		}
	}
}

// TestNoMarkupFromText keeps the ways out of the source by which text becomes markup or script.
func TestNoMarkupFromText(t *testing.T) {
	err := filepath.WalkDir("src", func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.Contains(filepath.Ext(path), "ts") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, bad := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "javascript:", "import("} {
			if bytes.Contains(text, []byte(bad)) {
				t.Errorf("%s uses %s", path, bad)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestUnits runs the tests of state, numbers and layout in Node.
func TestUnits(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("needs node")
	}
	out := filepath.Join(t.TempDir(), "units.mjs")
	r := api.Build(api.BuildOptions{EntryPoints: []string{"src/units.test.ts"}, Outfile: out, Write: true, Bundle: true, Format: api.FormatESModule, Platform: api.PlatformNode, Alias: map[string]string{"hash-wasm": "./third/hash-wasm/sha256.js"}})
	if len(r.Errors) > 0 {
		t.Fatal(r.Errors)
	}
	said, err := exec.Command(node, "--test", out).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, said)
	}
	if !strings.Contains(string(said), "# pass ") || strings.Contains(string(said), "# pass 0\n") {
		t.Errorf("no test ran:\n%s", said)
	}
}

// TestTypes checks the types of the page, and that the check finds a mistake.
func TestTypes(t *testing.T) {
	check := func(project string) (string, error) {
		out, err := exec.Command("../scripts/typescript.sh", project).CombinedOutput()
		if e, ok := errors.AsType[*exec.ExitError](err); ok && e.ExitCode() == 75 {
			t.Skip("needs npm packages")
		}
		return string(out), err
	}
	if said, err := check("web"); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
	root, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"tsconfig.json": `{"extends": "` + root + `/tsconfig.json", "include": ["*.ts"]}`,
		"wrong.ts":      `import type { Buckets } from "` + root + `/src/api"; export const n = (b: Buckets): string => b.calls;`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if said, err := check(dir); err == nil || !strings.Contains(said, "wrong.ts") {
		t.Errorf("a number for a text: %v\n%s", err, said)
	}
}
