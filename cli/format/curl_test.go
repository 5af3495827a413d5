package format_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/samples/traffic"
)

// harField is a header or cookie of an archive.
type harField struct{ Name, Value string }

// harEntry is what the tests read of a call in an archive.
type harEntry struct {
	CallID  string `json:"_call_id"`
	Time    float64
	Request struct {
		Method, URL      string
		HTTPVersion      string
		Headers, Cookies []harField
		PostData         *struct {
			Text     string
			Encoding string `json:"_encoding"`
		}
	}
	Timings struct{ DNS, Connect, Send, Wait, Receive, SSL float64 }
}

// sent lists the parts of a request, without those that belong to one connection.
func sent(method, uri string, headers []harField, body string) []string {
	facts := []string{method + " " + uri, "body " + body}
	for _, h := range headers {
		switch name := strings.ToLower(h.Name); name {
		case "content-length", "transfer-encoding", "connection", "content-encoding":
		default:
			facts = append(facts, name+": "+strings.TrimSpace(h.Value))
		}
	}
	slices.Sort(facts)
	return facts
}

// TestCurlCommandsReplay runs the commands against a server, which must receive the captured
// requests, and checks the HAR of the same calls.
func TestCurlCommandsReplay(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("needs curl")
	}
	var got []string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		headers := []harField{}
		if r.Host != "" {
			headers = append(headers, harField{"host", r.Host})
		}
		for name, values := range r.Header {
			for _, v := range values {
				headers = append(headers, harField{name, v})
			}
		}
		got = sent(r.Method, r.RequestURI, headers, string(body))
	}))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	target := regexp.MustCompile(`--connect-to \S+`)
	for _, sample := range []string{"http1.pcapng", "shop.pcapng", "http2.pcap", "apis.pcapng", "web.pcapng", "files.pcapng"} {
		dir := filepath.Join(t.TempDir(), "a.pcapsule")
		clitest.Done(t, "bundle", filepath.Join("..", "..", "samples", sample), "-o", dir)
		const which = `http && path != null && method != "CONNECT"`
		var har struct {
			Log struct{ Entries []harEntry }
		}
		if err := json.Unmarshal([]byte(clitest.Done(t, "query", dir, which, "--format", "har", "--limit", "40")), &har); err != nil {
			t.Fatal(err)
		}
		var commands []string
		for line := range strings.Lines(clitest.Done(t, "query", dir, which, "--format", "curl", "--limit", "40")) {
			if strings.HasPrefix(line, "curl ") {
				commands = append(commands, strings.TrimSpace(line))
			}
		}
		if len(commands) < 3 || len(commands) != len(har.Log.Entries) {
			t.Fatalf("%s: %d commands, %d entries", sample, len(commands), len(har.Log.Entries))
		}
		for i, en := range har.Log.Entries {
			checkTimes(t, en)
			odd := func(h harField) bool { return strings.Contains(h.Name, " ") } // servers refuse it
			if slices.ContainsFunc(en.Request.Headers, odd) || !strings.Contains(commands[i], " --http1.") && !strings.Contains(commands[i], " --http2-prior-knowledge") {
				continue // TLS
			}
			got = nil
			command := target.ReplaceAllString(commands[i], "--connect-to ::"+server.Listener.Addr().String())
			if out, err := exec.Command("bash", "-c", command+" -sS -o /dev/null --max-time 10").CombinedOutput(); err != nil {
				t.Errorf("%s\n%v: %s", command, err, out)
				continue
			}
			body := ""
			if en.Request.PostData != nil {
				body = en.Request.PostData.Text
				if en.Request.PostData.Encoding == "base64" {
					raw, _ := base64.StdEncoding.DecodeString(body)
					body = string(raw)
				}
			}
			_, uri, _ := strings.Cut(strings.TrimPrefix(en.Request.URL, "http://"), "/")
			if headers := en.Request.Headers; en.Request.HTTPVersion == "HTTP/2" { // its host is not a header
				en.Request.Headers = append(headers, harField{"host", strings.Split(en.Request.URL, "/")[2]})
			}
			if want := sent(en.Request.Method, "/"+uri, en.Request.Headers, body); !slices.Equal(got, want) {
				t.Errorf("%s\nsent %q\nwant %q", commands[i], got, want)
			}
		}
	}
}

// checkTimes checks an entry against HAR 1.2: the parts of its time add up, without ssl, which
// connect includes.
func checkTimes(t *testing.T, en harEntry) {
	t.Helper()
	sum := 0.0
	for _, part := range []float64{en.Timings.DNS, en.Timings.Connect, en.Timings.Send, en.Timings.Wait, en.Timings.Receive} {
		sum += max(part, 0)
	}
	if math.Abs(sum-en.Time) > 1e-6 || en.Timings.SSL > max(en.Timings.Connect, 0) {
		t.Errorf("%s: timings %+v, time %v", en.CallID, en.Timings, en.Time)
	}
	cookies := 0
	for _, h := range en.Request.Headers {
		if strings.EqualFold(h.Name, "cookie") {
			cookies += strings.Count(h.Value, "=")
		}
	}
	if cookies > 0 && len(en.Request.Cookies) == 0 {
		t.Errorf("%s: no cookies in %v", en.CallID, en.Request.Headers)
	}
}

// replayed are requests that a command must send again byte for byte: the line, the headers with the
// spelling of their names, and the body.
var replayed = []string{
	traffic.HTTP("GET /plain?a=1&b= HTTP/1.1", "Host: shop.example", ""),
	"GET /no-more HTTP/1.1\r\nHost: shop.example:8080\r\nUser-Agent: x\r\nAccept: */*\r\nAccept-Encoding: gzip, br\r\nConnection: keep-alive\r\n\r\n",
	"GET /without-host HTTP/1.0\r\nX-A: 1\r\n\r\n",
	"GET /empty-query? HTTP/1.1\r\nHost: shop.example\r\n\r\n",
	"GET http://other.example/absolute?x=1 HTTP/1.1\r\nHost: other.example\r\n\r\n",
	"GET /a/../b/./%2e%2e/{x}[1-3]?q={a,b}&c=$HOME`id` HTTP/1.1\r\nHost: shop.example\r\n\r\n",
	"GET /with#fragment?x HTTP/1.1\r\nHost: shop.example\r\n\r\n",
	"GET /caf\xc3\xa9?q=\"'<> HTTP/1.1\r\nHost: shop.example\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: shop.example\r\n\r\n",
	"HEAD /head HTTP/1.1\r\nHost: shop.example\r\n\r\n",
	"PROPFIND /dav HTTP/1.1\r\nHost: shop.example\r\nDepth: 1\r\n\r\n",
	"GET /twice HTTP/1.1\r\nHost: shop.example\r\nX-A: 1\r\nx-a: 2\r\nCookie: a=b; c=d\r\nCookie: e=f\r\nX-Empty:\r\nX-Semicolon: ;\r\n\r\n",
	"GET /quotes HTTP/1.1\r\nHost: shop.example\r\nX-Quote: it's \"$HOME\" `id` \\ !! \xc3\xa9 \t tab\r\nX-At: @/etc/passwd\r\n\r\n",
	"GET /ws HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
	traffic.HTTP("POST /nothing HTTP/1.1", "Host: shop.example", ""),
	traffic.HTTP("POST /at HTTP/1.1", "Host: shop.example\r\nContent-Type: text/plain", "@/etc/passwd"),
	traffic.HTTP("POST /untyped HTTP/1.1", "Host: shop.example", "a=1&b='2'\n$x\\"),
	traffic.HTTP("PUT /nul HTTP/1.1", "Host: shop.example\r\nContent-Type: text/plain", "a\x00b\nc\x00"),
	traffic.HTTP("PUT /binary HTTP/1.1", "Host: shop.example\r\nContent-Type: application/octet-stream\r\nExpect: 100-continue", "\x00\xff\x1f\x8b\n\r"),
	traffic.HTTP("PATCH /large HTTP/1.1", "Host: shop.example\r\nContent-Type: text/plain", strings.Repeat("0123456789abcde\n", 12_000)),
	traffic.HTTP("GET /with-body HTTP/1.1", "Host: shop.example\r\nContent-Type: application/json", `{"a": "it's"}`),
	traffic.HTTP("DELETE /with-body HTTP/1.1", "Host: shop.example\r\nContent-Type: application/json", `{}`),
	traffic.HTTP("POST /form HTTP/1.1", "Host: shop.example\r\nContent-Type: multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\n\x00\x01\r\n--x--\r\n"),
	"GET /default-port HTTP/1.1\r\nHost: shop.example:80\r\n\r\n",
	"GET /odd-host HTTP/1.1\r\nHost: shop example/x$(id)\r\n\r\n",
	"GET /ipv6 HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n",
	"GET //double//slash HTTP/1.1\r\nHost: shop.example\r\n\r\n",
	traffic.HTTP("HEAD /with-body HTTP/1.1", "Host: shop.example\r\nContent-Type: text/plain", "x"),
	"POST /chunked HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\n\x00def\r\n0\r\n\r\n",
}

// TestCurlSendsTheSameRequest compares what the server reads from each command with what the client
// in the capture sent.
func TestCurlSendsTheSameRequest(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("needs curl")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dir := t.TempDir()
	capture, bundle := filepath.Join(dir, "a.pcap"), filepath.Join(dir, "a.pcapsule")
	var c traffic.Capture
	for i, r := range replayed {
		c.Exchange(time.Duration(i)*time.Second, time.Millisecond, strconv.Itoa(i), "10.0.0.1", listener.Addr().String(), r, traffic.HTTP("HTTP/1.1 200 OK", "", ""))
	}
	if err := c.Write(capture); err != nil {
		t.Fatal(err)
	}
	clitest.Done(t, "bundle", capture, "-o", bundle)
	urls := regexp.MustCompile(`"url":"([^"]*)"`).FindAllStringSubmatch(clitest.Done(t, "query", bundle, "http1", "--format", "har"), -1)
	if len(urls) != len(replayed) {
		t.Errorf("%d URLs in a HAR, want %d", len(urls), len(replayed))
	}
	for _, m := range urls {
		if !regexp.MustCompile(`^http://[\w.:\[\]]+/([!$&-;=?-\[\]_a-z~]|%[0-9A-Fa-f]{2})*$`).MatchString(m[1]) {
			t.Errorf("%q in a HAR is not a URI", m[1])
		}
	}
	var commands []string
	for line := range strings.Lines(clitest.Done(t, "query", bundle, "http1", "--format", "curl")) {
		if !strings.HasPrefix(line, "#") {
			commands = append(commands, strings.TrimSuffix(line, "\n"))
		}
	}
	if len(commands) != len(replayed) {
		t.Fatalf("%d commands, want %d", len(commands), len(replayed))
	}
	for i, command := range commands {
		got := make(chan string, 1)
		go func() { got <- receive(listener) }()
		run := exec.Command("bash", "-s")
		run.Stdin = strings.NewReader(command + " -sS -o /dev/null --max-time 5")
		if out, err := run.CombinedOutput(); err != nil {
			t.Errorf("%.300s\n%v: %s", command, err, out)
			if conn, err := net.Dial("tcp", listener.Addr().String()); err == nil {
				conn.Close()
			}
		}
		if got, want := parts(<-got), parts(replayed[i]); !slices.Equal(got, want) {
			t.Errorf("%.300s\n got %.300q\nwant %.300q", command, got, want)
		}
	}
}

// receive reads one request from the next connection, and answers it.
func receive(l net.Listener) string {
	conn, err := l.Accept()
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	var all []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buf)
		all = append(all, buf[:n]...)
		head, rest, whole := strings.Cut(string(all), "\r\n\r\n")
		chunked := strings.Contains(strings.ToLower(head), "transfer-encoding: chunked")
		size := 0
		if m := regexp.MustCompile(`(?i)\r\ncontent-length: (\d+)`).FindStringSubmatch(head); m != nil {
			size, _ = strconv.Atoi(m[1])
		}
		if err != nil || whole && (chunked && strings.HasSuffix(rest, "0\r\n\r\n") || !chunked && len(rest) >= size) {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			return string(all)
		}
		if whole && strings.Contains(head, "100-continue") {
			io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
		}
	}
}

// parts are the line of a request, its headers in the order of their names, and its body without
// chunks.
func parts(request string) []string {
	head, body, _ := strings.Cut(request, "\r\n\r\n")
	lines := strings.Split(head, "\r\n")
	for i, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		lines[i+1] = name + ": " + strings.TrimSpace(value)
		if strings.EqualFold(name, "transfer-encoding") {
			text, _ := io.ReadAll(httputil.NewChunkedReader(strings.NewReader(body)))
			body = string(text)
		}
	}
	slices.SortStableFunc(lines[1:], func(a, b string) int {
		return strings.Compare(strings.ToLower(a[:strings.Index(a, ":")]), strings.ToLower(b[:strings.Index(b, ":")]))
	})
	return append(lines, body)
}
