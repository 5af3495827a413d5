package viewer_test

import (
	"bufio"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// ways are the ways in which a script can send something. ADDRESS stands for an address, and HOST for its host and port.
var ways = map[string]string{
	"fetch":          `fetch("ADDRESS", {mode: "no-cors", method: "POST", body: "x"}).catch(() => 0)`,
	"XMLHttpRequest": `{ const x = new XMLHttpRequest(); x.open("GET", "ADDRESS"); x.send(); }`,
	"WebSocket":      `new WebSocket("ADDRESS".replace("http", "ws"))`,
	"EventSource":    `new EventSource("ADDRESS")`,
	"beacon":         `navigator.sendBeacon("ADDRESS", "x")`,
	"WebTransport":   `new WebTransport("ADDRESS".replace("http", "https"))`,
	"img":            `new Image().src = "ADDRESS"`,
	"picture":        `document.body.append(Object.assign(document.createElement("img"), {srcset: "ADDRESS 1x"}))`,
	"video":          `document.body.append(Object.assign(document.createElement("video"), {src: "ADDRESS", preload: "auto"}))`,
	"audio":          `new Audio("ADDRESS").play().catch(() => 0)`,
	"object":         `document.body.append(Object.assign(document.createElement("object"), {data: "ADDRESS"}))`,
	"embed":          `document.body.append(Object.assign(document.createElement("embed"), {src: "ADDRESS"}))`,
	"iframe":         `document.body.append(Object.assign(document.createElement("iframe"), {src: "ADDRESS"}))`,
	"style sheet":    `document.head.append(Object.assign(document.createElement("link"), {rel: "stylesheet", href: "ADDRESS"}))`,
	"icon":           `document.head.append(Object.assign(document.createElement("link"), {rel: "icon", href: "ADDRESS"}))`,
	"prefetch":       `document.head.append(Object.assign(document.createElement("link"), {rel: "prefetch", href: "ADDRESS"}))`,
	"preload":        `document.head.append(Object.assign(document.createElement("link"), {rel: "preload", as: "image", href: "ADDRESS"}))`,
	"background":     `document.body.style.backgroundImage = "url(ADDRESS)"`,
	"font":           `new FontFace("x", "url(ADDRESS)").load().catch(() => 0)`,
	"import":         `import("ADDRESS").catch(() => 0)`,
	"script":         `document.head.append(Object.assign(document.createElement("script"), {src: "ADDRESS"}))`,
	"worker":         `new Worker(URL.createObjectURL(new Blob(["importScripts('ADDRESS')"])))`,
	"worker fetch":   `new Worker(URL.createObjectURL(new Blob(["fetch('ADDRESS', {mode: 'no-cors'})"])))`,
	"form":           `{ const f = Object.assign(document.createElement("form"), {action: "ADDRESS", method: "post"}); document.body.append(f); f.submit(); }`,
	"link":           `{ const a = Object.assign(document.createElement("a"), {href: "ADDRESS"}); document.body.append(a); a.click(); }`,
	"ping":           `{ const a = Object.assign(document.createElement("a"), {href: "#", ping: "ADDRESS"}); document.body.append(a); a.click(); }`,
	"download":       `{ const a = Object.assign(document.createElement("a"), {href: "ADDRESS", download: "x"}); document.body.append(a); a.click(); }`,
	"open":           `window.open("ADDRESS")`,
	"top":            `top.location.href = "ADDRESS"`,
	"parent":         `parent.location.replace("ADDRESS")`,
	"preconnect":     `document.head.append(Object.assign(document.createElement("link"), {rel: "preconnect", href: "ADDRESS"}))`,
	"module preload": `document.head.append(Object.assign(document.createElement("link"), {rel: "modulepreload", href: "ADDRESS"}))`,
	"XHTML link":     `{ const l = document.createElementNS("http://www.w3.org/1999/xhtml", "link"); l.rel = "preconnect"; l.href = "ADDRESS"; document.head.append(l); }`,
	"own link":       `{ customElements.define("x-link", class extends HTMLLinkElement {}, {extends: "link"}); const l = new (customElements.get("x-link"))(); l.rel = "preconnect"; l.href = "ADDRESS"; document.head.append(l); }`,
	"link elsewhere": `{ const d = document.implementation.createDocument("http://www.w3.org/1999/xhtml", "link", null), l = document.adoptNode(d.documentElement); l.rel = "preconnect"; l.href = "ADDRESS"; document.head.append(l); }`,
	"link in a text": `document.body.setHTML("<link rel=preconnect href=ADDRESS>", {sanitizer: {elements: ["link"], attributes: ["rel", "href"]}})`,
	"link in XSLT":   `{ const x = "http://www.w3.org/1999/XSL/Transform", d = document.implementation.createHTMLDocument(""), e = (n, a, ...c) => { const v = d.createElementNS(x, "xsl:" + n); for (const k in a) v.setAttribute(k, a[k]); v.append(...c); return v; }; d.documentElement.replaceWith(e("stylesheet", {version: "1.0"}, e("template", {match: "/"}, e("element", {name: "link", namespace: "http://www.w3.org/1999/xhtml"}, e("attribute", {name: "rel"}, "preconnect"), e("attribute", {name: "href"}, "ADDRESS"))))); const p = new XSLTProcessor(); p.importStylesheet(d); document.head.append(p.transformToFragment(d, document)); }`,
	"edit":           `document.designMode = "on"; document.execCommand("insertHTML", false, "<link rel=preconnect href=ADDRESS><img src=ADDRESS>")`,
	"document.write": `document.write("<link rel=preconnect href=ADDRESS><img src=ADDRESS>")`,
	"dns prefetch":   `document.head.append(Object.assign(document.createElement("link"), {rel: "dns-prefetch", href: "ADDRESS"}))`,
	"manifest":       `document.head.append(Object.assign(document.createElement("link"), {rel: "manifest", href: "ADDRESS"}))`,
	"shared worker":  `new SharedWorker("ADDRESS")`,
	"service worker": `navigator.serviceWorker.register("ADDRESS").catch(() => 0)`,
	"worklet":        `new AudioContext().audioWorklet.addModule("ADDRESS").catch(() => 0)`,
	"worker socket":  `new Worker(URL.createObjectURL(new Blob(["new WebSocket('ws://HOST/')"])))`,
	"svg":            `document.body.insertAdjacentHTML("beforeend", "<svg><image href='ADDRESS'/><use href='ADDRESS#x'/></svg>")`,
	"srcdoc":         `document.body.append(Object.assign(document.createElement("iframe"), {srcdoc: "<img src='ADDRESS'><script>fetch('ADDRESS')</script>"}))`,
	"blob page":      `document.body.append(Object.assign(document.createElement("iframe"), {src: URL.createObjectURL(new Blob(["<img src='ADDRESS'>"], {type: "text/html"}))}))`,
	"speculation":    `document.head.append(Object.assign(document.createElement("script"), {type: "speculationrules", text: '{"prefetch": [{"source": "list", "urls": ["ADDRESS"]}]}'}))`,
	"report":         `document.head.append(Object.assign(document.createElement("meta"), {httpEquiv: "Content-Security-Policy", content: "img-src 'none'; report-uri ADDRESS"}))`,
	"frame's WebRTC": `{ const f = document.createElement("iframe"); document.body.append(f); const p = new f.contentWindow.RTCPeerConnection({iceServers: [{urls: "stun:HOST"}]}); p.createDataChannel("x"); p.createOffer().then((o) => p.setLocalDescription(o)); }`,
	"WebRTC":         `{ globalThis.kept = new RTCPeerConnection({iceServers: [{urls: "stun:HOST"}]}); kept.createDataChannel("x"); kept.createOffer().then((o) => kept.setLocalDescription(o)); }`,
	"navigation":     `location.href = "ADDRESS"`,
	"refresh":        `document.head.append(Object.assign(document.createElement("meta"), {httpEquiv: "refresh", content: "0; url=ADDRESS"}))`,
}

// listener counts what reaches an address, over TCP and UDP.
type listener struct {
	address string
	reached atomic.Int32
}

func listen(t *testing.T) *listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	u, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	r := &listener{address: l.Addr().String()}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r.reached.Add(1)
			go func() {
				defer c.Close()
				line, err := bufio.NewReader(c).ReadString('\n')
				t.Logf("a connection: %q %v", line, err)
			}()
		}
	}()
	go func() {
		for {
			n, _, err := u.ReadFrom(make([]byte, 2000))
			if err != nil {
				return
			}
			r.reached.Add(1)
			t.Logf("a datagram of %d bytes", n)
		}
	}()
	return r
}

// TestTabSendsNothing runs a script in the viewer that tries everything it can to send something.
func TestTabSendsNothing(t *testing.T) { inBrowsers(t, tabSendsNothing) }

func tabSendsNothing(t *testing.T, b *tab) {
	l := listen(t)
	try := func(name string) {
		t.Helper()
		address := strings.ReplaceAll(strings.ReplaceAll(ways[name], "ADDRESS", "http://"+l.address+"/"+strings.ReplaceAll(name, " ", "-")), "HOST", l.address)
		_ = b.page.Evaluate(fmt.Sprintf(`(() => { try { %s } catch {} return ""; })()`, address), nil) // the frame may be gone
	}
	last := []string{"form", "link", "navigation", "refresh", "download"} // may replace the frame
	for _, name := range slices.Sorted(maps.Keys(ways)) {
		if !slices.Contains(last, name) {
			try(name)
		}
	}
	time.Sleep(2 * time.Second)
	if n := l.reached.Load(); n > 0 {
		t.Fatalf("%d connections or datagrams", n)
	}
	for _, name := range last {
		b.load(b.page.Reload)
		try(name)
		time.Sleep(400 * time.Millisecond)
		if n := l.reached.Swap(0); n > 0 {
			t.Errorf("%s: %d connections", name, n)
		}
	}
	// Where nothing forbids it, the same scripts do send, so that this test proves something.
	browser := filepath.Base(t.Name())
	free := browsers[browser](t, 10*time.Minute)
	b = &tab{t, free}
	page := filepath.Join(t.TempDir(), "free.html")
	if err := os.WriteFile(page, []byte("<!doctype html><title>free</title><body>"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := free.Open("file://" + page); err != nil {
		t.Fatal(err)
	}
	var silent []string
	for _, name := range sending[browser] {
		l.reached.Store(0)
		try(name)
		for end := time.Now().Add(10 * time.Second); l.reached.Load() == 0 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		}
		if l.reached.Load() == 0 {
			silent = append(silent, name)
		}
	}
	if len(silent) > 0 {
		t.Errorf("where nothing forbids it, %v send nothing, so that they prove nothing", silent)
	}
}

// sending are ways that do send from a page without a policy. In a page from the disk Firefox loads no script of a server, and it
// opens one connection ahead for several links.
var sending = map[string][]string{
	"Chromium": {"fetch", "XMLHttpRequest", "WebSocket", "EventSource", "beacon", "img", "picture", "iframe", "style sheet", "background", "import", "script", "worker", "worker fetch", "WebRTC", "preconnect", "form"},
	"Firefox":  {"fetch", "XMLHttpRequest", "WebSocket", "EventSource", "beacon", "img", "picture", "iframe", "style sheet", "preconnect", "form"},
}
