package viewer_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/internal/browsertest"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/web/bundler"
)

// built is the viewer that PCAPSULE_VIEWER names, or one that is built once for all tests as make viewer does, so that the
// compiler's cache has its packages.
var built = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("PCAPSULE_VIEWER"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "viewer-")
	if err != nil {
		return "", err
	}
	builtIn = dir
	program := filepath.Join(dir, "viewer.wasm")
	c := exec.Command("go", "build", "-ldflags", "-s -w", "-o", program, "github.com/pcapsule/pcapsule/cmd/pcapsule-viewer")
	c.Env = append(os.Environ(), "GOOS=js", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w", out, err)
	}
	wasm, err := os.ReadFile(program)
	if err != nil {
		return "", err
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	runner, err := os.ReadFile(filepath.Join(string(bytes.TrimSpace(root)), "lib/wasm/wasm_exec.js"))
	if err != nil {
		return "", err
	}
	page, err := bundler.Viewer("../../web", wasm, runner, false)
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "pcapsule-viewer.html")
	return path, os.WriteFile(path, page, 0o600)
})

// builtIn is the folder of the viewer, if a test needed it.
var builtIn string

func TestMain(m *testing.M) {
	code := m.Run()
	if builtIn != "" {
		os.RemoveAll(builtIn)
	}
	os.Exit(code)
}

// tab is the viewer in a headless browser.
type tab struct {
	t    *testing.T
	page browsertest.Page
}

// browsers are those in which the viewer must do the same. Firefox, which setup does not install, is part of nightly tests.
var browsers = map[string]func(testing.TB, time.Duration) browsertest.Page{"Chromium": browsertest.Chromium, "Firefox": browsertest.Firefox}

// inBrowsers runs a test in each browser.
func inBrowsers(t *testing.T, test func(t *testing.T, b *tab)) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(browsers)) {
		if name == "Chromium" || nightly.On() {
			t.Run(name, func(t *testing.T) { test(t, open(t, name)) })
		}
	}
}

// open opens the viewer from the disk, and waits until it is ready.
func open(t *testing.T, browser string) *tab {
	t.Helper()
	b := &tab{t, browsers[browser](t, 80*time.Minute)}
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	b.load(func() error { return b.page.Open("file://" + path) })
	b.until(`document.querySelector("main").dataset.state === "ready"`)
	return b
}

// load opens the viewer, or opens it again, and waits until its script runs.
func (b *tab) load(how func() error) {
	b.t.Helper()
	if err := how(); err != nil {
		b.t.Fatal(err)
	}
	b.until(`document.querySelector("main") !== null`)
}

// quiet checks that nothing ran that should not.
func (b *tab) quiet() {
	b.t.Helper()
	if said := b.page.Said(); len(said) > 0 {
		b.t.Errorf("the page said %q", said)
	}
}

// text is the value of an expression in the frame.
func (b *tab) text(expression string) (text string) {
	b.t.Helper()
	if err := b.page.Evaluate(expression, &text); err != nil {
		b.t.Fatal(err)
	}
	return text
}

// until waits until an expression is true in the frame.
func (b *tab) until(expression string) {
	b.t.Helper()
	var err error
	for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		var ok bool
		// While the frame is made, there is none to look at.
		if err = b.page.Evaluate("!!("+expression+")", &ok); err == nil && ok {
			return
		}
	}
	var text string
	_ = b.page.Evaluate("document.body.innerText", &text)
	b.t.Fatalf("waiting for %s: %v\n%.1200s", expression, err, text)
}

// choose gives files, or a folder, to an input.
func (b *tab) choose(id string, files ...string) {
	b.t.Helper()
	if err := b.page.Choose(id, files...); err != nil {
		b.t.Fatal(err)
	}
}

// check gives a bundle and keys to the viewer, and returns the headline and the lines of the result. It begins with an empty
// list of keys.
func (b *tab) check(path string, rederive bool, keys ...string) (headline, lines string) {
	b.t.Helper()
	b.text(`document.getElementById("forget").click(), ""`)
	b.until(`!document.querySelector("main").innerText.includes("Key")`)
	if len(keys) > 0 {
		b.choose("files", keys...)
		b.until(fmt.Sprintf(`document.querySelectorAll("main li").length === %d`, len(keys)))
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		b.choose("folder", path)
	} else {
		b.choose("files", path)
	}
	b.until(fmt.Sprintf(`document.querySelector(".drop").innerText.includes(": " + %q)`, filepath.Base(path)))
	b.text(fmt.Sprintf(`(document.getElementById("rederive").checked !== %t && document.getElementById("rederive").click(), "")`, rederive))
	b.until(fmt.Sprintf(`document.getElementById("rederive").checked === %t`, rederive))
	return b.result(path)
}

// result checks what was chosen.
func (b *tab) result(path string) (headline, lines string) {
	b.t.Helper()
	b.until(`!document.getElementById("check").disabled`)
	b.text(`document.getElementById("check").click(), ""`)
	b.until(`["done", "failed"].includes(document.querySelector("main").dataset.state)`)
	if problem := b.text(`document.querySelector(".problem")?.innerText ?? ""`); problem != "" {
		b.t.Fatalf("%s: %s", path, problem)
	}
	return b.text(`document.querySelector(".verdict").innerText`), b.text(`[...document.querySelectorAll("#lines div")].map((l) => l.textContent).join("\n")`)
}

// program is what the same command prints without a browser.
func (b *tab) program(path string, rederive bool, keys ...string) (headline, lines string) {
	b.t.Helper()
	args := []string{"verify", filepath.Base(path)}
	if rederive {
		args = append(args, "--rederive")
	}
	for _, k := range keys {
		args = append(args, "--signer", k)
	}
	c := exec.Command(pcapsule(b.t), args...)
	c.Dir = filepath.Dir(path)
	var out, problem strings.Builder
	c.Stdout, c.Stderr = &out, &problem
	err := c.Run()
	switch c.ProcessState.ExitCode() {
	case 0:
		headline = "Verified"
	case 8:
		headline = "Not verified"
	default:
		b.t.Fatalf("%s: %v\n%s", args, err, problem.String())
	}
	return headline, strings.TrimRight(out.String()+problem.String(), "\n")
}

// pcapsule is the program that make build builds; make unit builds it first.
func pcapsule(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../bin/pcapsule")
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Fatalf("%v: run make build first", err)
	}
	return path
}
