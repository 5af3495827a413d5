package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/internal/browsertest"
	"github.com/pcapsule/pcapsule/internal/nightly"
	"github.com/pcapsule/pcapsule/mcp/door"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// browser is a page in headless Chromium with what it complains about and asks for.
type browser struct {
	t   *testing.T
	ctx context.Context
	url string

	mu      sync.Mutex
	said    []string // exceptions, console errors, dialogs
	foreign []string // requests elsewhere
}

// browse starts Chromium. It skips if there is none.
func browse(t *testing.T, url string) *browser {
	t.Helper()
	ctx := browsertest.Start(t, 4*time.Minute, chromedp.WindowSize(1360, 900))
	b := &browser{t: t, ctx: ctx, url: url}
	chromedp.ListenTarget(ctx, b.hear)
	return b
}

func (b *browser) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.said = append(b.said, e.ExceptionDetails.Error())
	case *runtime.EventConsoleAPICalled:
		b.said = append(b.said, fmt.Sprintf("console.%s %v", e.Type, e.Args))
	case *page.EventJavascriptDialogOpening:
		b.said = append(b.said, "dialog "+e.Message)
	case *network.EventRequestWillBeSent:
		if !strings.HasPrefix(e.Request.URL, b.url) && !strings.HasPrefix(e.Request.URL, "about:") {
			b.foreign = append(b.foreign, e.Request.URL)
		}
	}
}

// quiet checks that nothing ran that should not, and that nothing was loaded from elsewhere.
func (b *browser) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.said) > 0 || len(b.foreign) > 0 {
		b.t.Errorf("the page said %q and asked %q", b.said, b.foreign)
	}
}

func (b *browser) do(actions ...chromedp.Action) {
	b.t.Helper()
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// until waits until an expression of JavaScript is true.
func (b *browser) until(expression string) {
	b.t.Helper()
	var err error
	for end := time.Now().Add(40 * time.Second); time.Now().Before(end) && b.ctx.Err() == nil; time.Sleep(30 * time.Millisecond) {
		var ok bool
		// While a page is replaced, there is none to look at.
		if err = chromedp.Run(b.ctx, chromedp.Evaluate("!!("+expression+")", &ok)); err == nil && ok {
			return
		}
	}
	var text string
	_ = chromedp.Run(b.ctx, chromedp.Evaluate("location.href + '\\n' + document.body.innerText", &text))
	b.t.Fatalf("waiting for %s: %v\n%.1200s", expression, err, text)
}

func (b *browser) open(hash string) {
	b.t.Helper()
	b.do(chromedp.Navigate("about:blank"), chromedp.Navigate(b.url+"/"+hash))
	b.until(`document.querySelector("main") !== null`)
}

// turn changes the address of the open page, and waits until the page begins to answer.
func (b *browser) turn(hash string) {
	b.t.Helper()
	b.do(chromedp.Evaluate(fmt.Sprintf("location.hash = %q", hash), nil), chromedp.Sleep(150*time.Millisecond))
	b.until(settled)
}

const secret = "0123456789abcdef"

func paged(t *testing.T, wrap func(http.Handler) http.Handler) *httptest.Server {
	h := serving(t, Options{Policy: redact.Default(), Packets: true, Reports: reported("0123456789abcdef")}, bundled(t, "shop.pcapng")).Handler(HTTPOptions{Tokens: []door.Token{door.NewToken("anna", secret)}})
	if wrap != nil {
		h = wrap(h)
	}
	web := httptest.NewServer(h)
	t.Cleanup(web.Close)
	return web
}

// settled is true when nothing is being computed.
const settled = `document.body.ariaBusy === "false" && !document.querySelector(".busy") && document.querySelector("main").innerText.length > 40`

// TestPageFromVerdictToPackets goes by keyboard from the summary to the packets of a failed call.
func TestPageFromVerdictToPackets(t *testing.T) {
	web := paged(t, nil)
	b := browse(t, web.URL)
	b.do(chromedp.Navigate(web.URL + "/"))
	b.until(`document.querySelector("#token") !== null`) // without a token it asks for one
	b.do(chromedp.SendKeys("#token", secret+kb.Enter, chromedp.ByID))
	b.until(`document.querySelector(".verdict")?.innerText.includes("89 failed")`)
	b.open("#token=" + secret)
	b.until(`!location.hash.includes("token") && document.querySelector(".causes")?.innerText.includes("api.cards.example.net")`)
	b.do(chromedp.Evaluate(`[...document.querySelectorAll(".verdict button")].find((x) => x.innerText === "89 failed").click()`, nil))
	b.until(`location.hash.includes("q=failed") && document.querySelector(".found").innerText === "89 of 369 calls" && document.querySelectorAll(".grid .row").length > 20`)
	b.do(chromedp.KeyEvent("jjk" + kb.Enter))
	b.until(`document.querySelector("aside.call .title")?.innerText.includes("client setinfo") && document.querySelector("aside.call").innerText.includes("request arrived")`)
	b.until(`/c=[0-9a-f]{32}/.test(location.hash)`)
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until(`!document.querySelector("aside.call")`)
	b.do(chromedp.Evaluate("history.back()", nil))
	b.until(`document.querySelector("aside.call") !== null`)
	b.do(chromedp.KeyEvent(kb.Escape), chromedp.KeyEvent("/"))
	b.until(`document.activeElement.id === "kfl"`)
	b.do(chromedp.Evaluate(`document.getElementById("kfl").select()`, nil), chromedp.KeyEvent("status_co"))
	b.until(`[...document.querySelectorAll("#completions li")].some((x) => x.innerText.startsWith("status_code"))`)
	b.do(chromedp.KeyEvent("de == 503" + kb.Enter))
	b.until(`document.querySelector(".found").innerText .endsWith(" of 369 calls") && !document.querySelector(".found").innerText.startsWith("369") && document.querySelector(".grid .row .outcome").innerText.includes("503")`)
	b.do(chromedp.SetValue(".tools select", "to", chromedp.ByQuery), chromedp.Evaluate(`document.querySelector(".tools select").dispatchEvent(new Event("change", {bubbles: true}))`, nil))
	b.until(`document.querySelector(".scroll")?.innerText.includes("payment")`)
	b.open("#v=calls&q=status_code%20%3D%3D%3D%20x")
	b.until(`document.body.innerText.includes("KFL:") && document.querySelector(".found").innerText === "not applied"`)
	b.open("#v=calls&q=status_code%20==%20999")
	b.until(`document.querySelector(".nothing")?.innerText.startsWith("No call matches.")`)
	b.open("#v=summary&b=000000000000")
	b.until(`document.querySelector(".warning")?.innerText.includes("another bundle")`)
	b.open("#v=sql&s=" + "select%20count(*)%20as%20n%20from%20calls")
	b.until(`document.querySelector("main .scroll")?.innerText.includes("369")`)
	// A selected time applies to calls.
	b.open("#v=calls&t=1795166689000-1795166689500")
	b.until(`/^\d+ of 369 calls$/.test(document.querySelector(".found").innerText) && !document.querySelector(".found").innerText.startsWith("369")`)
	b.quiet()
	// A server that ends is said in words.
	web.CloseClientConnections()
	web.Close()
	b.do(chromedp.KeyEvent("5"))
	b.until(`document.querySelector("main .problem")?.innerText.includes("does not answer") && document.querySelector("main .problem button").innerText === "Retry"`)
}

var pageViews = []string{"summary", "calls", "calls&k=day,to_ip,what,id", "calls&g=to", "calls&c=CALL&p=PACKET", "map", "map&n=shop/payment", "connections", "findings", "objects", "compare&t=1795166690500-1795166692000", "evidence", "reports", "sql&s=select%20call_id,%20dst_name,%20failed%20from%20calls%20limit%2020"}

const onlyColours = `{runOnly: ["color-contrast"]}` // nothing else differs

// TestPageIsAccessible lets axe-core judge every view in all colours, looks for what does not fit at 200 % or on a phone, and
// prints a dark page on white with its address and the hashes of what was open.
func TestPageIsAccessible(t *testing.T) {
	web := paged(t, nil)
	b := browse(t, web.URL)
	axe, err := os.ReadFile("../web/testdata/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	place := placeOf(t, web)
	b.open("#token=" + secret)
	b.do(chromedp.Evaluate(string(axe)+";0", nil))
	for _, colours := range []struct{ scheme, contrast, rules string }{{"light", "no-preference", ""}, {"dark", "no-preference", onlyColours}, {"light", "more", onlyColours}, {"dark", "more", onlyColours}} {
		scheme := colours.scheme + ", contrast " + colours.contrast
		b.do(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: colours.scheme}, {Name: "prefers-contrast", Value: colours.contrast}}))
		views := pageViews
		if colours.contrast == "more" {
			views = nightly.Some(pageViews, 4)
		}
		for _, view := range views {
			b.turn("#v=" + place.Replace(view))
			var found []string
			b.do(chromedp.Evaluate(`axe.run(`+colours.rules+`).then((r) => r.violations.map((v) => v.id + ": " + v.nodes.map((n) => n.html.slice(0, 120) + " " + n.failureSummary).slice(0, 3).join(" | ")))`, &found,
				func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
			for _, v := range found {
				t.Errorf("%s, %s: %s", view, scheme, v)
			}
		}
	}
	for _, width := range []int64{680, 390} { // a window at 200 %, a phone
		b.do(chromedp.EmulateViewport(width, 800))
		for _, view := range nightly.Some(pageViews, 4) {
			b.turn("#v=" + place.Replace(view))
			var wide int64
			if b.do(chromedp.Evaluate("document.documentElement.scrollWidth", &wide)); wide > width {
				t.Errorf("%s is %v pixels wide in %d", view, wide, width)
			}
		}
	}
	b.do(chromedp.EmulateViewport(800, 900), emulation.SetEmulatedMedia().WithMedia("print").WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}))
	for _, view := range nightly.Some(pageViews, 2) {
		b.turn("#v=" + place.Replace(view))
		b.until(`getComputedStyle(document.querySelector(".printed")).display === "block" && document.querySelector(".printed").innerText.includes("SHA-256 42e3b8dc") && getComputedStyle(document.body).color === "rgb(27, 33, 41)" && getComputedStyle(document.querySelector("nav")).display === "none"`)
	}
	b.quiet()
}

// TestTabsLendTheToken opens a link to a call in a new tab, as from a report, without a token.
func TestTabsLendTheToken(t *testing.T) {
	t.Parallel()
	web := paged(t, nil)
	b := browse(t, web.URL)
	id := callOf(t, web)
	b.open("#token=" + secret)
	b.until(`document.querySelector(".verdict")`)
	tab, cancel := chromedp.NewContext(b.ctx)
	defer cancel()
	other := &browser{t: t, ctx: tab, url: web.URL}
	other.do(chromedp.Navigate(web.URL + "/#c=" + id[:12]))
	other.until(`document.querySelector("aside.call .title")?.innerText.includes("/api/checkout") && !document.querySelector("#token")`)
}

// callOf returns the id of a failed call.
func callOf(t *testing.T, web *httptest.Server) string {
	t.Helper()
	r, err := http.NewRequest("GET", web.URL+"/mcp/calls?limit=1&kfl=status_code==503", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+secret)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var out struct{ Calls []struct{ ID string } }
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil || len(out.Calls) == 0 {
		t.Fatal(err, out)
	}
	return out.Calls[0].ID
}

// placeOf returns what puts a failed call and one of its packets into an address.
func placeOf(t *testing.T, web *httptest.Server) *strings.Replacer {
	t.Helper()
	id := callOf(t, web)
	r, err := http.NewRequest("GET", web.URL+"/mcp/calls/"+id+"/packets", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+secret)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var out tools.CallPackets
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil || len(out.List) == 0 {
		t.Fatal(err, out)
	}
	return strings.NewReplacer("CALL", id, "PACKET", strconv.FormatInt(out.List[len(out.List)-1].No, 10))
}

var plainText = regexp.MustCompile(`^[0-9a-fA-FTZ:.,#-]*$`)

// poisoned replaces the texts of a value, except times, numbers and ids.
func poisoned(v any, with func() string) any {
	switch x := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(x)) {
			x[name] = poisoned(x[name], with)
		}
	case []any:
		for i := range x {
			x[i] = poisoned(x[i], with)
		}
	case string:
		if !plainText.MatchString(x) {
			return with()
		}
	}
	return v
}

// TestHostileTextIsShownOnly serves answers in which every text is an attack, each time another of 200: nothing runs,
// nothing is loaded, and no view is wider than the window.
func TestHostileTextIsShownOnly(t *testing.T) {
	list := attacks()
	if len(list) < 200 {
		t.Fatalf("%d attacks", len(list))
	}
	var next atomic.Int64
	attack := func() string {
		if n := next.Add(1); n > 0 {
			return list[int(n)%len(list)]
		}
		return "__proto__" // every object has something of this name
	}
	web := paged(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.URL.Path, "/mcp/") || r.Header.Get("Origin")+r.Header.Get("Sec-Fetch-Site") == "" {
				next.ServeHTTP(w, r)
				return
			}
			held := httptest.NewRecorder()
			next.ServeHTTP(held, r)
			var v any
			text := held.Body.Bytes()
			if json.Unmarshal(text, &v) == nil {
				text, _ = json.Marshal(poisoned(v, attack))
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(held.Code)
			_, _ = w.Write(bytes.TrimSpace(text))
		})
	})
	b := browse(t, web.URL)
	place := placeOf(t, web)
	b.open("#token=" + secret)
	for _, first := range append(nightly.Some([]int64{0, 23, 41, 67, 89, 113, 151}, 1), math.MinInt32) {
		next.Store(first)
		b.open("#v=evidence") // the frame asks again
		for _, view := range pageViews {
			b.turn("#v=" + place.Replace(view))
			var bad string
			b.do(chromedp.Evaluate(`[typeof pwned !== "undefined" ? "ran" : "", document.querySelector("img, iframe:not(.preview), object, embed, base, main script, main style, main link") ? "markup" : "",
				document.documentElement.scrollWidth > innerWidth ? "wide: " + document.documentElement.scrollWidth : "", document.querySelector("nav button").offsetHeight ? "" : "hidden"].filter(Boolean).join()`, &bad))
			if bad != "" {
				t.Errorf("attacks from %d on, in %s: %s", first, view, bad)
			}
		}
	}
	if n := next.Load() - math.MinInt32; n < int64(len(list)) {
		t.Errorf("only %d texts were replaced", n)
	}
	b.quiet()
}
