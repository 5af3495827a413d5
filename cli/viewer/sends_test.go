package viewer_test

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// ways are the ways in which a script can send something to an address. ADDRESS stands for it.
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
	"navigation":     `location.href = "ADDRESS"`,
	"refresh":        `document.head.append(Object.assign(document.createElement("meta"), {httpEquiv: "refresh", content: "0; url=ADDRESS"}))`,
}

// TestTabSendsNothing runs a script in the viewer that tries everything it can to send something.
func TestTabSendsNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var reached atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			reached.Add(1)
			go func() {
				defer c.Close()
				line, err := bufio.NewReader(c).ReadString('\n')
				t.Logf("a connection: %q %v", line, err)
			}()
		}
	}()
	b := open(t)
	try := func(name string) {
		t.Helper()
		script := fmt.Sprintf(`(() => { try { %s } catch {} return ""; })()`, strings.ReplaceAll(ways[name], "ADDRESS", "http://"+l.Addr().String()+"/"+name))
		_ = b.inFrame(script, nil) // the frame may be gone
	}
	last := []string{"form", "link", "navigation", "refresh", "download"} // may replace the frame
	for name := range ways {
		if !slices.Contains(last, name) {
			try(name)
		}
	}
	time.Sleep(time.Second)
	if n := reached.Load(); n > 0 {
		t.Fatalf("%d connections", n)
	}
	for _, name := range last {
		b.load(chromedp.Reload())
		try(name)
		time.Sleep(400 * time.Millisecond)
		if n := reached.Load(); n > 0 {
			t.Errorf("%s: %d connections", name, n)
			reached.Store(0)
		}
	}
	// Datagrams, which connect-src does not mention.
	u, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	b.load(chromedp.Reload())
	const call = `(async () => { try { const p = new RTCPeerConnection({iceServers: [{urls: "stun:%s"}]}); p.createDataChannel("x"); await p.setLocalDescription(await p.createOffer()); await new Promise((r) => setTimeout(r, 800)); } catch {} return ""; })()`
	_ = b.inFrame(fmt.Sprintf(call, u.LocalAddr()), nil)
	if err := u.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, _, err := u.ReadFrom(make([]byte, 2000)); err == nil {
		t.Errorf("a datagram of %d bytes", n)
	}
	// Where nothing forbids it, the same script does send.
	free := browse(t)
	free.do(chromedp.Navigate("about:blank"))
	reached.Store(0)
	for _, name := range []string{"fetch", "img", "beacon", "iframe"} {
		free.do(chromedp.Evaluate(strings.ReplaceAll(ways[name], "ADDRESS", "http://"+l.Addr().String()+"/")+`;""`, nil))
	}
	for end := time.Now().Add(20 * time.Second); reached.Load() == 0 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
	}
	if reached.Load() == 0 {
		t.Error("the scripts send nothing anywhere, so this test proves nothing")
	}
}
