package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/mcp/door"
)

// reported are reports whose HTML has a style, a script that must not run, and one call.
func reported(call string) *Reports {
	return &Reports{Templates: []ReportTemplate{{"overview", "Traffic report", "All of it."}, {"incident", "Incident report", "What failed."}}, Formats: []string{"html", "md"},
		Write: func(_ context.Context, _ *forensics.Case, r ReportRequest, w io.Writer) error {
			_, err := fmt.Fprintf(w, `<!doctype html><html lang="en"><head><title>x</title><style>body{color:red}</style><script>parent.pwned=1</script></head><body><h1>%s %s %s</h1><img src="http://attacker.example/x"><span title="call %s">open it</span></body></html>`,
				r.Template, r.KFL, r.Format, call)
			return err
		}}
}

// TestPageViews goes by keyboard through the views that need several answers.
func TestPageViews(t *testing.T) {
	s := serving(t, Options{Policy: redact.Default(), Packets: true, Reports: &Reports{}}, bundled(t, "shop.pcapng"))
	web := httptest.NewServer(s.Handler(HTTPOptions{Tokens: []door.Token{door.NewToken("anna", secret)}}))
	defer web.Close()
	id := callOf(t, web)
	*s.o.Reports = *reported(id)
	b := browse(t, web.URL)
	focus := func(selector string) {
		t.Helper()
		b.until(fmt.Sprintf("document.querySelector(%q)", selector))
		b.do(chromedp.Evaluate(fmt.Sprintf("document.querySelector(%q).focus()", selector), nil))
	}
	b.open("#token=" + secret)

	// A field marks its bytes, and a byte its field.
	b.turn("#v=calls&c=" + id)
	focus(".packets tbody tr button")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`document.querySelector(".layers") && /p=\d+/.test(location.hash)`)
	b.do(chromedp.Evaluate(`[...document.querySelectorAll(".layers .field")].find((x) => x.innerText.startsWith("http.request.method")).focus()`, nil))
	b.until(`[...document.querySelectorAll(".hex .ascii .marked")].map((x) => x.innerText).join("") === "POST" && document.querySelector(".packets [role=status]").innerText.includes("http.request.method: bytes 66 to 69")`)
	focus(".hex")
	b.do(chromedp.KeyEvent(kb.ArrowUp), chromedp.KeyEvent(kb.ArrowUp), chromedp.KeyEvent(kb.ArrowUp))
	b.until(`[...document.querySelectorAll(".layers .field.marked .name")].map((x) => x.innerText).join() === "ip.ttl" || document.querySelector(".layers .field.marked .name")?.innerText.startsWith("ip.")`)
	b.until(`document.querySelector(".hex .hidden") && !document.querySelector(".hex").innerText.includes("Bearer")`)
	b.do(chromedp.Evaluate(`[...document.querySelectorAll(".packets button")].find((x) => x.innerText.includes("as recorded")).click()`, nil))
	b.until(`document.querySelector(".hex") && !document.querySelector(".hex .hidden")`)

	// Compare the selected time.
	b.turn("#v=calls&t=1795166689000-1795166690500")
	b.do(chromedp.KeyEvent("b"))
	b.until(`/v=compare/.test(location.hash) && /w=1795166689000-1795166690500/.test(location.hash) && document.querySelector(".chart .base")`)
	b.turn("#v=compare&t=1795166690500-1795166692000")
	b.until(`document.querySelector(".compare .title")?.innerText.startsWith("All requests: 64, before 127") && document.querySelectorAll(".compare table").length >= 2`)

	// The blast radius of a service, and events on the time strip.
	b.turn("#v=map&n=shop%2Fpayment")
	b.until(`document.querySelector(".blast")?.innerText.includes("2 clients call it directly") && document.querySelectorAll(".map .node.up").length >= 2 && document.querySelectorAll(".map .node.down").length >= 2 && document.querySelectorAll(".map .band").length >= 2`)
	b.until(`document.querySelector(".chart .mark.bad title").textContent.includes("Unhealthy")`)
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until(`!document.querySelector(".blast")`)

	// A filter that was used comes back, and can be saved.
	b.turn("#v=calls&q=failed")
	b.do(chromedp.Evaluate(`[...document.querySelectorAll(".filter button")].find((x) => x.innerText === "Save").click()`, nil))
	b.open("#v=calls")
	focus("#kfl")
	b.do(chromedp.KeyEvent(kb.ArrowDown))
	b.until(`[...document.querySelectorAll("#completions li")].some((x) => x.innerText.includes("saved filter"))`)
	b.do(chromedp.KeyEvent(kb.ArrowDown), chromedp.KeyEvent(kb.Enter), chromedp.KeyEvent(kb.Enter))
	b.until(`location.hash.includes("q=failed")`)

	// The preview of a report runs nothing of it and opens its calls.
	b.turn("#v=reports&r=incident")
	b.until(`document.querySelector("iframe.preview:not(.away)")`)
	b.do(chromedp.Focus("iframe"), chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	b.until(fmt.Sprintf(`location.hash.includes("c=%s") && typeof pwned === "undefined"`, id))
	b.quiet()
}

// TestPageAndABadServer lets a server fail in every way: it is said in words, the state stays, and Retry helps.
func TestPageAndABadServer(t *testing.T) {
	var status atomic.Int64
	var other atomic.Bool
	web := paged(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n := int(status.Load())
			if !strings.HasPrefix(r.URL.Path, "/mcp/") || n == 0 && !other.Load() {
				next.ServeHTTP(w, r)
				return
			}
			if n != 0 {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(n)
				fmt.Fprintf(w, `{"error": "status %d in words, as a server would say what is wrong"}`, n)
				return
			}
			held := httptest.NewRecorder()
			next.ServeHTTP(held, r)
			w.WriteHeader(held.Code)
			_, _ = w.Write(bytes.Replace(held.Body.Bytes(), []byte(`"sha256":"`), []byte(`"sha256":"beef`), 1))
		})
	})
	b := browse(t, web.URL)
	b.open("#token=" + secret)
	const at = "#v=findings&q=failed&t=1795166689000-1795166692000"
	for n, words := range map[int]string{503: "Retry in a moment", 504: "shorter time", 507: "shorter time", 409: "Nothing in this page is lost", 500: "status 500 in words"} {
		status.Store(int64(n))
		b.turn("#v=objects")
		b.turn(at)
		b.until(fmt.Sprintf(`[...document.querySelectorAll("main .problem")].some((x) => x.innerText.includes(%q) && x.innerText.includes("status %d"))`, words, n))
		status.Store(0)
		b.do(chromedp.Evaluate(`document.querySelectorAll(".problem button").forEach((x) => x.click())`, nil))
		b.until(`document.querySelector("main .findings") && !document.querySelector("main .problem") && location.hash.includes("q=failed")`)
	}
	// An expired token can be entered without a loss.
	status.Store(401)
	b.turn("#v=objects&q=failed")
	b.until(`document.querySelector("#token") && document.querySelector(".warning").innerText.includes("stay as they are")`)
	status.Store(0)
	b.do(chromedp.SendKeys("#token", secret+kb.Enter, chromedp.ByID))
	b.until(`!document.querySelector("#token") && document.querySelector(".found").innerText === "89 of 369 calls" && location.hash.includes("v=objects")`)
	// Another bundle at the same address is noticed when the page is looked at again.
	other.Store(true)
	b.do(chromedp.Evaluate(`document.dispatchEvent(new Event("visibilitychange"))`, nil))
	b.until(`[...document.querySelectorAll(".warning")].some((x) => x.innerText.includes("another bundle"))`)
	b.do(chromedp.Evaluate(`[...document.querySelectorAll(".warning button")].find((x) => x.innerText === "Use this bundle").click()`, nil))
	b.until(`!document.querySelector(".warning") && location.hash.includes("b=beef")`)
}

// crowd is a service map of 100 services in 6 namespaces.
func crowd() map[string]any {
	var nodes, edges []any
	name := func(i int) string { return fmt.Sprintf("ns%d/service-%d", i%6, i) }
	for i := range 100 {
		nodes = append(nodes, map[string]any{"name": name(i), "namespace": fmt.Sprintf("ns%d", i%6), "place": "inside", "calls_in": 1, "calls_out": 1, "failed_in": 0})
		for _, k := range []int{i*7 + 1, i*3 + 2} {
			edges = append(edges, map[string]any{"src": name(i), "dst": name(k % 100), "calls": i + 1, "failed": i % 3, "connections": 1, "encrypted": "no", "protocols": []any{}, "request_kb": 1, "response_kb": 1})
		}
	}
	return map[string]any{"nodes": nodes, "edges": edges, "total_edges": len(edges), "total_calls": 5000, "group_by": "service", "matched": "some", "verified": false, "coverage": map[string]any{"state": "complete"}}
}

// TestMapOf100Services looks at the sizes of a crowded map: namespaces are folded, and open with all names readable.
func TestMapOf100Services(t *testing.T) {
	web := paged(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/mcp/ask/get_service_map" {
				next.ServeHTTP(w, r)
				return
			}
			_ = json.NewEncoder(w).Encode(crowd())
		})
	})
	b := browse(t, web.URL)
	b.open("#token=" + secret + "&v=map")
	b.until(`document.querySelectorAll(".map .node").length === 6 && document.querySelectorAll(".groups button").length === 6`)
	b.do(chromedp.Evaluate(`document.querySelector(".groups button").click()`, nil))
	b.until(`document.querySelectorAll(".map .node").length === 22`) // 17 of the open namespace, 5 others
	b.do(chromedp.Evaluate(`[...document.querySelectorAll('.groups button[aria-pressed="false"]')].forEach((x) => x.click())`, nil))
	b.until(`document.querySelectorAll(".map .node").length === 100`)
	var bad string
	b.do(chromedp.Evaluate(`(() => {
		const box = [...document.querySelectorAll(".map .node rect")].map((x) => x.getBoundingClientRect());
		for (const a of box) for (const c of box) if (a !== c && a.left < c.right && c.left < a.right && a.top < c.bottom && c.top < a.bottom) return "boxes overlap";
		for (const t of document.querySelectorAll(".map .node text")) if (t.getBoundingClientRect().height < 9) return "text is " + t.getBoundingClientRect().height + " high";
		return document.documentElement.scrollWidth > innerWidth ? "wide" : "";
	})()`, &bad))
	if bad != "" {
		t.Error(bad)
	}
	b.quiet()
}
