package viewer_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/pcapsule/pcapsule/internal/browsertest"
	"github.com/pcapsule/pcapsule/web/bundler"
)

// built is the viewer, built once for all tests as make viewer does, so that the compiler's cache has its packages.
var built = sync.OnceValues(func() (string, error) {
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

// tab is the viewer in headless Chromium.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu    sync.Mutex
	frame runtime.ExecutionContextID // of the frame in the sandbox, in which the viewer is
	hold  bool                       // frames that a script makes are not that of the viewer
	said  []string                   // exceptions and messages of the console
}

// open opens the viewer from the disk, and waits until it is ready.
func open(t *testing.T) *tab {
	t.Helper()
	b := browse(t)
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	b.load(chromedp.Navigate("file://" + path))
	b.until(`document.querySelector("main").dataset.state === "ready"`)
	return b
}

// load opens the viewer, or opens it again, and waits until its script runs.
func (b *tab) load(how chromedp.Action) {
	b.t.Helper()
	b.held(false)
	b.do(how)
	b.until(`document.querySelector("main") !== null`)
	b.held(true)
}

func (b *tab) held(on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hold = on
}

func browse(t *testing.T) *tab {
	t.Helper()
	// The frame stays in the process of the page, so that one connection sees both.
	ctx := browsertest.Start(t, 40*time.Minute, chromedp.Flag("disable-features", "IsolateSandboxedIframes,site-per-process,Translate,BlinkGenPropertyTrees"))
	b := &tab{t: t, ctx: ctx}
	chromedp.ListenTarget(ctx, b.hear)
	return b
}

func (b *tab) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExecutionContextCreated:
		if !b.hold {
			b.frame = e.Context.ID // the frame is made after the page
		}
	case *runtime.EventExceptionThrown:
		b.said = append(b.said, e.ExceptionDetails.Error())
	case *runtime.EventConsoleAPICalled:
		b.said = append(b.said, fmt.Sprintf("console.%s %v", e.Type, e.Args))
	}
}

// quiet checks that nothing ran that should not.
func (b *tab) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.said) > 0 {
		b.t.Errorf("the page said %q", b.said)
	}
}

func (b *tab) do(actions ...chromedp.Action) {
	b.t.Helper()
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// inFrame evaluates an expression in the frame.
func (b *tab) inFrame(expression string, value any) error {
	b.mu.Lock()
	id := b.frame
	b.mu.Unlock()
	return chromedp.Run(b.ctx, chromedp.Evaluate(expression, value, func(p *runtime.EvaluateParams) *runtime.EvaluateParams {
		return p.WithContextID(id).WithAwaitPromise(true)
	}))
}

// text is the value of an expression in the frame.
func (b *tab) text(expression string) (text string) {
	b.t.Helper()
	if err := b.inFrame(expression, &text); err != nil {
		b.t.Fatal(err)
	}
	return text
}

// until waits until an expression is true in the frame.
func (b *tab) until(expression string) {
	b.t.Helper()
	var err error
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end) && b.ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		var ok bool
		// While the frame is made, there is none to look at.
		if err = b.inFrame("!!("+expression+")", &ok); err == nil && ok {
			return
		}
	}
	var text string
	_ = b.inFrame("document.body.innerText", &text)
	b.t.Fatalf("waiting for %s: %v\n%.1200s", expression, err, text)
}

// choose gives files, or a folder, to an input.
func (b *tab) choose(id string, files ...string) {
	b.t.Helper()
	b.do(chromedp.ActionFunc(func(ctx context.Context) error {
		o, _, err := runtime.Evaluate(fmt.Sprintf("document.getElementById(%q)", id)).WithContextID(b.frame).Do(ctx)
		if err != nil {
			return err
		}
		return dom.SetFileInputFiles(files).WithObjectID(o.ObjectID).Do(ctx)
	}))
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
	b.until(fmt.Sprintf(`document.getElementById("rederive").checked === %t && !document.getElementById("check").disabled`, rederive))
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
