package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// printed runs a command and returns what it writes to standard output.
func printed(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := Main(args, strings.NewReader(""), &out, &errs); code != 0 {
		t.Fatalf("pcapsule %q: exit code %d: %s", args, code, &errs)
	}
	return out.String()
}

// harField is a header or cookie of an archive.
type harField struct{ Name, Value string }

// harEntry is what the tests read of a call in an archive.
type harEntry struct {
	CallID  string `json:"_call_id"`
	Time    float64
	Request struct {
		Method, URL      string
		Headers, Cookies []harField
		PostData         *struct{ Text string }
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
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		headers := []harField{{"host", r.Host}}
		for name, values := range r.Header {
			for _, v := range values {
				headers = append(headers, harField{name, v})
			}
		}
		got = sent(r.Method, r.RequestURI, headers, string(body))
	}))
	defer server.Close()
	target := regexp.MustCompile(`--connect-to \S+`)
	for _, sample := range []string{"http1.pcapng", "shop.pcapng"} {
		dir := filepath.Join(t.TempDir(), "a.pcapsule")
		printed(t, "bundle", filepath.Join("..", "..", "samples", sample), "-o", dir)
		const which = `http1 && request.headers["host"] != null`
		var har struct {
			Log struct{ Entries []harEntry }
		}
		if err := json.Unmarshal([]byte(printed(t, "query", dir, which, "--format", "har", "--limit", "40")), &har); err != nil {
			t.Fatal(err)
		}
		var commands []string
		for line := range strings.Lines(printed(t, "query", dir, which, "--format", "curl", "--limit", "40")) {
			if strings.HasPrefix(line, "curl ") {
				commands = append(commands, strings.TrimSpace(line))
			}
		}
		if len(commands) < 15 || len(commands) != len(har.Log.Entries) {
			t.Fatalf("%s: %d commands, %d entries", sample, len(commands), len(har.Log.Entries))
		}
		for i, en := range har.Log.Entries {
			checkTimes(t, en)
			if !target.MatchString(commands[i]) || strings.Contains(commands[i], ".body") {
				continue
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
			}
			_, uri, _ := strings.Cut(strings.TrimPrefix(en.Request.URL, "http://"), "/")
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
