// Command page measures the page in headless Chromium: the first view, a filter, and scrolling through calls. Processor
// time is more telling than time on a machine that others use, so it prints both.
//
//	page -server PID ADDRESS, as pcapsule open --print prints it
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

const rows = 10_000 // rows that are scrolled through

// scroll goes through rows as fast as they come, and returns the longest time without new rows under the window, in ms.
const scroll = `(async () => {
	const box = document.querySelector(".grid .rows"), row = 24;
	let longest = 0;
	for (let at = 0; at < %d; at += 20) {
		const begin = performance.now();
		for (;;) {
			box.scrollTop = at * row;
			await new Promise((f) => setTimeout(f, 16));
			if (Math.abs(box.scrollTop - at * row) < 2 * row && !document.querySelector(".row.missing")) break;
		}
		longest = Math.max(longest, performance.now() - begin);
	}
	return longest;
})()`

type meter struct {
	ctx    context.Context
	server int
}

func main() {
	log.SetFlags(0)
	server := flag.Int("server", 0, "process of the server")
	flag.Parse()
	o := append([]chromedp.ExecAllocatorOption{}, chromedp.DefaultExecAllocatorOptions[:]...)
	o = append(o, chromedp.ExecPath("chromium-headless-shell"), chromedp.NoSandbox, chromedp.DisableGPU)
	ctx, end := chromedp.NewExecAllocator(context.Background(), o...)
	defer end()
	ctx, _ = chromedp.NewContext(ctx)
	defer func() { _ = chromedp.Cancel(ctx) }()
	m := meter{ctx, *server}
	m.run(chromedp.Navigate("about:blank"), performance.Enable())
	fmt.Printf("%-44s %8s %10s %10s\n", "", "wall s", "server CPU", "page CPU")
	base, _, _ := strings.Cut(flag.Arg(0), "#")
	m.measure("first view: verdict and time strip", chromedp.Navigate(flag.Arg(0)), until(`document.querySelector(".verdict") && document.querySelector(".chart rect.calls")`))
	m.run(until(idle))
	m.measure("a filter: count and time strip", chromedp.Evaluate(`location.hash = "#v=sql&q=failed"`, nil), until(`/^[\d,]+ of/.test(document.querySelector(".found").innerText) && document.querySelector(".found").innerText.split(" of ")[0] !== document.querySelector(".found").innerText.split(" of ")[1].split(" ")[0]`))
	m.run(until(idle))
	m.measure("calls: the first rows", chromedp.Evaluate(`location.hash = "#v=calls"`, nil), until(`document.querySelectorAll(".grid .row:not(.missing)").length > 20`))
	var longest float64
	m.measure(fmt.Sprintf("scrolling through %d rows without a stop", rows), chromedp.Evaluate(fmt.Sprintf(scroll, rows), &longest, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	m.run(heapprofiler.CollectGarbage())
	used := m.metric("JSHeapUsedSize")
	fmt.Printf("longest wait for rows %.0f ms; the page keeps %.0f MB (%s)\n", longest, used/1e6, base)
}

func (m meter) run(list ...chromedp.Action) {
	if err := chromedp.Run(m.ctx, list...); err != nil {
		log.Fatal(err)
	}
}

func (m meter) measure(name string, list ...chromedp.Action) {
	begin, server, page := time.Now(), m.cpu(), m.metric("TaskDuration")
	m.run(list...)
	fmt.Printf("%-44s %8.2f %10.2f %10.2f\n", name, time.Since(begin).Seconds(), m.cpu()-server, m.metric("TaskDuration")-page)
}

func (m meter) metric(name string) (value float64) {
	m.run(chromedp.ActionFunc(func(ctx context.Context) error {
		list, err := performance.GetMetrics().Do(ctx)
		for _, x := range list {
			if x.Name == name {
				value = x.Value
			}
		}
		return err
	}))
	return value
}

// cpu is the processor time of the server and its workers in seconds.
func (m meter) cpu() (s float64) {
	paths, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, p := range paths {
		text, _ := os.ReadFile(p)
		_, after, _ := strings.Cut(string(text), ") ")
		f := strings.Fields(after)
		if len(f) < 13 || filepath.Base(filepath.Dir(p)) != strconv.Itoa(m.server) && f[1] != strconv.Itoa(m.server) {
			continue
		}
		for _, x := range f[11:13] {
			n, _ := strconv.ParseFloat(x, 64)
			s += n / 100
		}
	}
	return s
}

const idle = `document.body.ariaBusy === "false"`

// until waits until an expression of JavaScript is true.
func until(expression string) chromedp.Action {
	return chromedp.ActionFunc(func(ctx context.Context) error {
		for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			var ok bool
			if err := chromedp.Evaluate("!!("+expression+")", &ok).Do(ctx); err == nil && ok {
				return nil
			}
		}
		return fmt.Errorf("waited 3 min for %s", expression)
	})
}
