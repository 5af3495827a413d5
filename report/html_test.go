package report

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/report/value"
)

// elements are the HTML elements that a page may have.
var elements = strings.Fields(`html head meta title style body header p h1 h2 h3 time ul li strong span dl div dt dd main section nav a figure figcaption
	table thead tbody tr th td small ol code footer script
	svg defs pattern rect line path text g marker desc`)

// checkPage checks every page: it parses, loads and runs nothing, and is accessible to screen
// readers.
func checkPage(t *testing.T, page string) *html.Node {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	ids, refs := map[string]bool{}, []string{}
	level, policy := 0, false
	walk(root, func(n *html.Node) {
		if !slices.Contains(elements, n.Data) {
			t.Errorf("element <%s>", n.Data)
		}
		if n.Data == "h1" || n.Data == "h2" || n.Data == "h3" {
			now := int(n.Data[1] - '0')
			if now > level+1 {
				t.Errorf("%s after h%d", n.Data, level)
			}
			level = now
		}
		if n.Data == "svg" && attr(n, "aria-hidden") == "" && (attr(n, "role") != "img" || attr(n, "aria-labelledby") == "") {
			t.Error("picture without a description")
		}
		if n.Data == "style" && n.FirstChild != nil && (strings.Contains(n.FirstChild.Data, "@import") || strings.Contains(n.FirstChild.Data, "url(")) {
			t.Error("the style loads something")
		}
		if n.Data == "th" && attr(n, "scope") == "" {
			t.Error("table header without scope")
		}
		for _, a := range n.Attr {
			checkAttribute(t, n, a)
			switch a.Key {
			case "id":
				if ids[a.Val] {
					t.Errorf("id %q twice", a.Val)
				}
				ids[a.Val] = true
			case "aria-labelledby":
				refs = append(refs, strings.Fields(a.Val)...)
			case "href":
				refs = append(refs, strings.TrimPrefix(a.Val, "#"))
			case "http-equiv":
				policy = a.Val == "Content-Security-Policy" && strings.HasPrefix(attr(n, "content"), "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")
			}
		}
	})
	for _, ref := range refs {
		if !ids[ref] {
			t.Errorf("nothing has the id %q", ref)
		}
	}
	if !policy {
		t.Error("no content security policy")
	}
	for _, r := range page {
		if r != '\n' && value.Hidden(r) {
			t.Errorf("character %U that does not show", r)
		}
	}
	return root
}

var local = regexp.MustCompile(`^url\(#[a-z0-9-]+\)$`)

func checkAttribute(t *testing.T, n *html.Node, a html.Attribute) {
	t.Helper()
	switch {
	case strings.HasPrefix(a.Key, "on"), a.Key == "src", a.Key == "action", a.Key == "srcset", a.Key == "data":
		t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
	case a.Key == "href" && !strings.HasPrefix(a.Val, "#"):
		t.Errorf("link to %q", a.Val)
	case strings.Contains(a.Val, "url(") && !local.MatchString(a.Val) && a.Key != "title" && a.Key != "aria-label":
		t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
	}
}

func walk(n *html.Node, do func(*html.Node)) {
	if n.Type == html.ElementNode {
		do(n)
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		walk(c, do)
	}
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// An attacker chooses hosts, paths, statuses and names; none may become markup or change the text
// direction of the page.
func TestHostileTextStaysText(t *testing.T) {
	const evil = `<script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>`
	dir := t.TempDir()
	capture := filepath.Join(dir, "evil\"><b>.pcap")
	request := "GET /a\"'><svg/onload=alert(1)>/\u202e</style></title>" + strings.ReplaceAll(evil, " ", "%20") + " HTTP/1.1\r\nHost: \"><iframe>.example\r\n\r\n"
	answer := "HTTP/1.1 500 " + evil + "\u202etxt\x1b[31m\r\nContent-Length: 0\r\n\r\n"
	if err := os.WriteFile(capture, exchange(request, answer), 0o644); err != nil {
		t.Fatal(err)
	}
	kube := filepath.Join(dir, "kube.json")
	pod := strings.ReplaceAll(`{"kind":"List","items":[{"kind":"Pod","apiVersion":"v1","metadata":{"name":"EVIL","namespace":"n</text></svg>EVIL","uid":"u"},
		"spec":{"containers":[{"name":"c"}]},"status":{"podIP":"10.1.0.2","podIPs":[{"ip":"10.1.0.2"}],"phase":"Running","startTime":"2001-01-01T00:00:00Z"}},
		{"kind":"Event","apiVersion":"v1","metadata":{"name":"e","namespace":"d"},"type":"Warning","reason":"EVIL","message":"EVIL\u2066\u0007","involvedObject":{"kind":"Pod","name":"EVIL"},"lastTimestamp":"2001-09-09T01:46:40Z","count":2}]}`,
		"EVIL", evil)
	if err := os.WriteFile(kube, []byte(pod), 0o644); err != nil {
		t.Fatal(err)
	}
	path := makeBundle(t, exporter.Options{Kube: []string{kube}}, "evil", capture)
	r, page := build(t, Options{Title: "</title></style><script>x</script>\u202e"}, path)
	checkPage(t, page)
	if findTable(r, "failures-table") == nil {
		t.Fatal("the failed call is missing")
	}
	if !strings.Contains(page, "&lt;script&gt;") {
		t.Error("the text was not shown at all")
	}
	if !strings.Contains(page, `\u{202e}`) {
		t.Error("the direction character is not visible")
	}
}

// exchange returns a pcap file with one TCP connection, a request and a response.
func exchange(request, answer string) []byte {
	var out bytes.Buffer
	le := binary.LittleEndian
	head := make([]byte, 24)
	le.PutUint32(head, 0xA1B2C3D4)
	le.PutUint16(head[4:], 2)
	le.PutUint16(head[6:], 4)
	le.PutUint32(head[16:], 65535)
	le.PutUint32(head[20:], 101) // raw IP
	out.Write(head)
	client, server := netip.MustParseAddr("10.1.0.1").AsSlice(), netip.MustParseAddr("10.1.0.2").AsSlice()
	at := uint32(0)
	add := func(fromClient bool, flags byte, seq, ack uint32, data string) {
		p := make([]byte, 40, 40+len(data))
		p[0], p[8], p[9] = 0x45, 64, 6
		binary.BigEndian.PutUint16(p[2:], uint16(40+len(data)))
		from, to, sport, dport := client, server, uint16(40000), uint16(80)
		if !fromClient {
			from, to, sport, dport = to, from, dport, sport
		}
		copy(p[12:], from)
		copy(p[16:], to)
		binary.BigEndian.PutUint16(p[20:], sport)
		binary.BigEndian.PutUint16(p[22:], dport)
		binary.BigEndian.PutUint32(p[24:], seq)
		binary.BigEndian.PutUint32(p[28:], ack)
		p[32], p[33], p[34] = 0x50, flags, 0xFF
		p = append(p, data...)
		record := make([]byte, 16)
		le.PutUint32(record, 1_000_000_000)
		le.PutUint32(record[4:], at)
		le.PutUint32(record[8:], uint32(len(p)))
		le.PutUint32(record[12:], uint32(len(p)))
		at += 1000
		out.Write(record)
		out.Write(p)
	}
	c, s := uint32(100), uint32(900)
	add(true, 2, c, 0, "")
	add(false, 0x12, s, c+1, "")
	add(true, 0x10, c+1, s+1, "")
	add(true, 0x18, c+1, s+1, request)
	c += 1 + uint32(len(request))
	add(false, 0x18, s+1, c, answer)
	add(true, 0x11, c, s+1+uint32(len(answer)), "")
	return out.Bytes()
}
