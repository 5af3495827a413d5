package browsertest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Page is a page in a browser of which a test uses the first frame, or the page itself if it has none.
type Page interface {
	// Open opens an address; Reload opens it again.
	Open(address string) error
	Reload() error
	// Evaluate evaluates an expression in the frame, waits for a promise, and decodes the value, which JSON can have.
	Evaluate(expression string, value any) error
	// Choose gives files, or one folder, to the input with an id in the frame.
	Choose(id string, paths ...string) error
	// Screenshot is what the page looks like, as PNG.
	Screenshot() ([]byte, error)
	// Said are the exceptions and what scripts wrote to the console.
	Said() []string
	// Saves is the folder in which files are that the page saved.
	Saves() string
}

// Chromium opens a page in Chromium, which is closed when the test ends or a time is over.
func Chromium(t testing.TB, most time.Duration) Page {
	t.Helper()
	// The frame stays in the process of the page, so that one connection sees both.
	p := &chromium{ctx: Start(t, most, chromedp.Flag("disable-features", "IsolateSandboxedIframes,site-per-process,Translate,BlinkGenPropertyTrees")), saves: t.TempDir()}
	chromedp.ListenTarget(p.ctx, p.hear)
	if err := chromedp.Run(p.ctx, browser.SetDownloadBehavior(browser.SetDownloadBehaviorBehaviorAllow).WithDownloadPath(p.saves)); err != nil {
		t.Fatal(err)
	}
	return p
}

type chromium struct {
	ctx   context.Context
	saves string

	mu    sync.Mutex
	frame runtime.ExecutionContextID
	hold  bool // frames that a script makes are not that of the page
	said  []string
}

func (p *chromium) hear(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExecutionContextCreated:
		if !p.hold {
			p.frame = e.Context.ID // the frame is made after the page
		}
	case *runtime.EventExceptionThrown:
		p.said = append(p.said, e.ExceptionDetails.Error())
	case *runtime.EventConsoleAPICalled:
		p.said = append(p.said, fmt.Sprintf("console.%s %v", e.Type, e.Args))
	}
}

func (p *chromium) load(how chromedp.Action) error {
	held := func(on bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.hold = on
	}
	held(false)
	defer held(true)
	return chromedp.Run(p.ctx, how)
}

func (p *chromium) Open(address string) error { return p.load(chromedp.Navigate(address)) }
func (p *chromium) Reload() error             { return p.load(chromedp.Reload()) }
func (p *chromium) Saves() string             { return p.saves }

func (p *chromium) at() runtime.ExecutionContextID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.frame
}

func (p *chromium) Evaluate(expression string, value any) error {
	return chromedp.Run(p.ctx, chromedp.Evaluate(expression, value, func(e *runtime.EvaluateParams) *runtime.EvaluateParams {
		return e.WithContextID(p.at()).WithAwaitPromise(true)
	}))
}

func (p *chromium) Choose(id string, paths ...string) error {
	return chromedp.Run(p.ctx, chromedp.ActionFunc(func(ctx context.Context) error {
		o, _, err := runtime.Evaluate(fmt.Sprintf("document.getElementById(%q)", id)).WithContextID(p.at()).Do(ctx)
		if err != nil {
			return err
		}
		return dom.SetFileInputFiles(paths).WithObjectID(o.ObjectID).Do(ctx)
	}))
}

func (p *chromium) Screenshot() (png []byte, err error) {
	err = chromedp.Run(p.ctx, chromedp.ActionFunc(func(ctx context.Context) (err error) {
		png, err = page.CaptureScreenshot().Do(ctx)
		return err
	}))
	return png, err
}

func (p *chromium) Said() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said
}
