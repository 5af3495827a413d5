package viewer_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// tab is the viewer in headless Chromium.
type tab struct {
	t     *testing.T
	ctx   context.Context // of the outer page
	frame runtime.ExecutionContextID
}

func open(t *testing.T, page string) *tab {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			program = p
			break
		}
	}
	if program == "" {
		t.Skip("needs chromium")
	}
	o := append([]chromedp.ExecAllocatorOption{}, chromedp.DefaultExecAllocatorOptions[:]...)
	// The frame in its sandbox stays in the process of the page, so that one connection sees both.
	o = append(o, chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-features", "IsolateSandboxedIframes,site-per-process,Translate,BlinkGenPropertyTrees"), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), o...)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 4*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx}
	chromedp.ListenTarget(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExecutionContextCreated:
			t.Logf("context %d %s %s", e.Context.ID, e.Context.Origin, e.Context.AuxData)
			b.frame = e.Context.ID // the last one made is that of the frame
		case *runtime.EventExceptionThrown:
			t.Logf("exception: %s", e.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			t.Logf("console: %s", e.Args)
		}
	})
	start := time.Now()
	b.do(chromedp.Navigate("file://" + page))
	b.until(`document.querySelector("main")?.dataset.state === "ready"`)
	t.Logf("ready after %v", time.Since(start))
	return b
}

func (b *tab) do(actions ...chromedp.Action) {
	b.t.Helper()
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

func in(id runtime.ExecutionContextID) chromedp.EvaluateOption {
	return func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithContextID(id).WithAwaitPromise(true) }
}

// until waits until an expression is true in the frame.
func (b *tab) until(expression string) {
	b.t.Helper()
	var err error
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end) && b.ctx.Err() == nil; time.Sleep(30 * time.Millisecond) {
		var ok bool
		if err = chromedp.Run(b.ctx, chromedp.Evaluate("!!("+expression+")", &ok, in(b.frame))); err == nil && ok {
			return
		}
	}
	var text string
	_ = chromedp.Run(b.ctx, chromedp.Evaluate("location.href + '\\n' + document.body.innerText", &text, in(b.frame)))
	b.t.Fatalf("waiting for %s: %v\n%.1200s", expression, err, text)
}

// choose sets the files of an input.
func (b *tab) choose(id string, files ...string) {
	b.t.Helper()
	b.do(chromedp.ActionFunc(func(ctx context.Context) error {
		o, _, err := runtime.Evaluate("document.getElementById(" + `"` + id + `"` + ")").WithContextID(b.frame).Do(ctx)
		if err != nil {
			return err
		}
		return dom.SetFileInputFiles(files).WithObjectID(o.ObjectID).Do(ctx)
	}))
}

func TestProbe(t *testing.T) {
	page, _ := filepath.Abs("../../bin/pcapsule-viewer.html")
	b := open(t, page)
	dir := t.TempDir()
	bundle := filepath.Join(dir, "h.pcapsule")
	if out, err := exec.Command("../../bin/pcapsule", "bundle", "../../samples/http1.pcapng", "-o", bundle).CombinedOutput(); err != nil {
		t.Fatalf("%s %v", out, err)
	}
	b.choose("folder", bundle)
	b.until(`document.querySelector("main").innerText.includes("Bundle: h.pcapsule")`)
	start := time.Now()
	var text string
	b.do(chromedp.Evaluate(`document.getElementById("check").click()`, nil, in(b.frame)))
	b.until(`["done","failed"].includes(document.querySelector("main").dataset.state)`)
	b.do(chromedp.Evaluate(`document.querySelector("main").innerText`, &text, in(b.frame)))
	t.Logf("%v\n%s", time.Since(start), text)
	want, _ := exec.Command("../../bin/pcapsule", "verify", "--rederive", bundle).Output()
	t.Logf("%s", want)
	_ = strings.TrimSpace
	_ = os.Args
}
