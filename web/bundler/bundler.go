// Package bundler builds the page: it turns the TypeScript and style sheets of web/src into the
// files of web/dist. The same sources give the same bytes on every machine. It needs no Node.
package bundler

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// Build returns the files of dist by name. root is the folder web.
func Build(root string) (map[string][]byte, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("building the page: %w", err)
	}
	licence, err := os.ReadFile(filepath.Join(root, "third/preact/LICENSE"))
	if err != nil {
		return nil, fmt.Errorf("building the page: %w", err)
	}
	r := api.Build(api.BuildOptions{
		AbsWorkingDir: root, EntryPoints: []string{"src/page.tsx", "src/page.css", "src/frame.ts"}, Outdir: "dist",
		Bundle: true, Format: api.FormatESModule, Target: api.ES2022, Platform: api.PlatformBrowser,
		MinifySyntax: true, MinifyWhitespace: true, MinifyIdentifiers: true, Charset: api.CharsetASCII,
		JSXFactory: "h", JSXFragment: "Fragment",
		Alias: map[string]string{
			"preact":       filepath.Join(root, "third/preact/preact.mjs"),
			"preact/hooks": filepath.Join(root, "third/preact/hooks.mjs"),
		},
		TsconfigRaw: `{"compilerOptions": {"strict": true}}`,
	})
	if len(r.Errors) > 0 {
		e := r.Errors[0]
		if e.Location != nil {
			return nil, fmt.Errorf("building the page: %s:%d: %s", e.Location.File, e.Location.Line, e.Text)
		}
		return nil, fmt.Errorf("building the page: %s", e.Text)
	}
	out := map[string][]byte{}
	for _, f := range r.OutputFiles {
		out[filepath.Base(f.Path)] = f.Contents
	}
	out["page.js"] = append([]byte("/* Contains Preact.\n"+string(licence)+"*/\n"), out["page.js"]...)
	for _, name := range []string{"index.html", "frame.html", "icon.svg"} {
		if out[name], err = os.ReadFile(filepath.Join(root, "src", name)); err != nil {
			return nil, fmt.Errorf("building the page: %w", err)
		}
	}
	// The document of a preview has no origin, so it can load no script: its own is inside.
	page, script := string(out["frame.html"]), string(out["frame.js"])
	out["frame.html"] = []byte(strings.Replace(page, `<script src="/page/frame.js"></script>`, "<script>"+strings.TrimSpace(script)+"</script>", 1))
	delete(out, "frame.js")
	return out, nil
}
