package bundler

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"html"
	"os"
	"path/filepath"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
	"github.com/klauspost/compress/zstd"
)

// window is how far back the packed program refers, in bytes. The page unpacks it into one buffer, so it costs no memory.
const window = 64 << 20

// MaxViewer is the largest size of pcapsule-viewer.html, so that it can be sent by mail.
const MaxViewer = 16_000_000

// Viewer returns pcapsule-viewer.html. root is the folder web, program is cmd/pcapsule-viewer for js/wasm, and runner is
// Go's wasm_exec.js. The same arguments give the same bytes. A small file takes half a minute; for tests it may be larger.
func Viewer(root string, program, runner []byte, small bool) ([]byte, error) {
	part := map[string]string{}
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("building the viewer: %w", err)
	}
	r := api.Build(api.BuildOptions{
		AbsWorkingDir: root, EntryPoints: []string{"viewer/viewer.tsx", "viewer/viewer.css", "viewer/shell.ts", "viewer/shell.css", "viewer/worker.ts"}, Outdir: "dist",
		Bundle: true, Format: api.FormatIIFE, Target: api.ES2022, Platform: api.PlatformBrowser,
		MinifySyntax: true, MinifyWhitespace: true, MinifyIdentifiers: true, Charset: api.CharsetASCII,
		JSXFactory: "h", JSXFragment: "Fragment",
		Alias:       map[string]string{"preact": filepath.Join(root, "third/preact/preact.mjs"), "preact/hooks": filepath.Join(root, "third/preact/hooks.mjs"), "fzstd": filepath.Join(root, "third/fzstd/fzstd.mjs"), "hash-wasm": filepath.Join(root, "third/hash-wasm/sha256.js")},
		TsconfigRaw: `{"compilerOptions": {"strict": true}}`,
	})
	if len(r.Errors) > 0 {
		e := r.Errors[0]
		if e.Location != nil {
			return nil, fmt.Errorf("building the viewer: %s:%d: %s", e.Location.File, e.Location.Line, e.Text)
		}
		return nil, fmt.Errorf("building the viewer: %s", e.Text)
	}
	for _, f := range r.OutputFiles {
		part[filepath.Base(f.Path)] = strings.TrimSpace(string(f.Contents))
	}
	for as, name := range map[string]string{"viewer.html": "viewer/viewer.html", "frame.html": "viewer/frame.html", "preact": "third/preact/LICENSE", "fzstd": "third/fzstd/LICENSE", "hash-wasm": "third/hash-wasm/LICENSE"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return nil, fmt.Errorf("building the viewer: %w", err)
		}
		part[as] = string(text)
	}
	part["viewer.js"] = "/* Contains Preact.\n" + part["preact"] + "*/\n" + part["viewer.js"]
	part["worker.js"] = string(runner) + "/* Contains fzstd.\n" + part["fzstd"] + "*/\n/* Contains hash-wasm.\n" + part["hash-wasm"] + "*/\n" + part["worker.js"]
	for _, name := range []string{"shell.js", "viewer.js", "worker.js"} {
		if strings.Contains(part[name], "</script") || strings.Contains(part[name], "<!--") {
			return nil, fmt.Errorf("building the viewer: %s ends the element that it is in", name)
		}
	}
	if part["program"], err = encoded(program, small); err != nil {
		return nil, fmt.Errorf("building the viewer: %w", err)
	}
	part["frame"] = html.EscapeString(filled(part["frame.html"], part))
	part["policy"] = viewerPolicy(part)
	page := filled(part["viewer.html"], part)
	if small && len(page) > MaxViewer {
		return nil, fmt.Errorf("building the viewer: it has %d bytes, more than %d", len(page), MaxViewer)
	}
	return []byte(page), nil
}

// filled replaces each {{name}} of a template, once and not in what it inserts.
func filled(text string, part map[string]string) string {
	var out strings.Builder
	for {
		before, rest, more := strings.Cut(text, "{{")
		out.WriteString(before)
		if !more {
			return out.String()
		}
		name, after, _ := strings.Cut(rest, "}}")
		out.WriteString(part[name])
		text = after
	}
}

// viewerPolicy allows the two scripts of the page, its worker, styles and pictures inside a document, which reports have, and
// nothing else: no connection, form or frame with an address. A frame inherits it.
func viewerPolicy(part map[string]string) string {
	sum := func(name string) string {
		s := sha256.Sum256([]byte(part[name]))
		return "'sha256-" + base64.StdEncoding.EncodeToString(s[:]) + "'"
	}
	return "default-src 'none'; script-src " + sum("shell.js") + " " + sum("viewer.js") + " 'wasm-unsafe-eval'; style-src 'unsafe-inline'; worker-src blob:; connect-src 'none'; img-src data:; frame-src 'none'; form-action 'none'; base-uri 'none'; webrtc 'block'; require-trusted-types-for 'script'; trusted-types pcapsule"
}

// encoded packs the program as text: its zstd, with the length before it, in base 85, which is a sixteenth shorter than base
// 64. The digits are printable characters but < and &, so that HTML keeps them as they are.
func encoded(program []byte, small bool) (string, error) {
	level := zstd.SpeedFastest
	if small {
		level = zstd.SpeedBestCompression
	}
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		return "", err
	}
	var packed bytes.Buffer
	packed.Write(make([]byte, 4))
	packed.Write(z.EncodeAll(program, nil))
	binary.BigEndian.PutUint32(packed.Bytes(), uint32(packed.Len()-4))
	for packed.Len()%4 != 0 {
		packed.WriteByte(0)
	}
	text := make([]byte, 0, packed.Len()/4*5)
	for b := packed.Bytes(); len(b) > 0; b = b[4:] {
		v := binary.BigEndian.Uint32(b)
		group := [5]byte{}
		for i := 4; i >= 0; i-- {
			group[i] = letter(byte(v % 85))
			v /= 85
		}
		text = append(text, group[:]...)
	}
	return string(text), nil
}

func letter(digit byte) byte {
	switch c := '#' + digit; c {
	case '<':
		return 'y'
	case '&':
		return 'z'
	default:
		return c
	}
}
