package mcp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/redact"
	"github.com/pcapsule/pcapsule/mcp/door"
	"github.com/pcapsule/pcapsule/mcp/store"
	"github.com/pcapsule/pcapsule/mcp/tools"
)

// cuts is a store whose live run finishes all calls of a bundle at each cut.
type cuts struct {
	store.Store
	path string
}

func (c cuts) LiveAfter(ctx context.Context, after int64) ([]string, int64, error) {
	select {
	case <-time.After(5 * time.Millisecond):
		return []string{c.path}, after + 1, nil
	case <-ctx.Done():
		return nil, 0, context.Cause(ctx)
	}
}

func tailing(t *testing.T) *Server {
	t.Helper()
	s, err := New(nil, Options{Release: "test", Store: cuts{path: bundled(t, "shop.pcapng")}, Policy: redact.Default(), Open: func(ctx context.Context, paths []string) (*forensics.Case, error) {
		return forensics.Open(ctx, paths, forensics.Options{Threads: 1, MaskSecrets: true})
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestTailFollowsTheRulesOfOtherPaths(t *testing.T) {
	const token = "a-long-enough-token"
	web := httptest.NewServer(tailing(t).Handler(HTTPOptions{MaxStreams: 1, Tokens: []door.Token{door.NewToken("ann", token)}}))
	defer web.Close()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	open := func(query, token string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, web.URL+"/mcp/tail?"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res
	}
	for _, v := range []struct {
		query, token string
		want         int
	}{{"", "another", 401}, {"kfl=http+%26%26", token, 400}, {"kfl=nosuch+%3D%3D+1", token, 400}, {"db=live", token, 400}, {"format=raw", token, 400}} {
		if res := open(v.query, v.token); res.StatusCode != v.want {
			t.Errorf("%q with token %s: %d, want %d", v.query, v.token, res.StatusCode, v.want)
		}
	}
	res := open("kfl=http1&format=full", token)
	if res.StatusCode != 200 || res.Header.Get(trustHeader) == "" {
		t.Fatalf("%s %v", res.Status, res.Header)
	}
	if more := open("", token); more.StatusCode != 503 {
		t.Errorf("a second stream: %d, want 503", more.StatusCode)
	}
	in := bufio.NewScanner(res.Body)
	in.Buffer(nil, 1<<20)
	calls := 0
	for calls < 200 && in.Scan() {
		switch line := in.Text(); {
		case strings.HasPrefix(line, "event: call"):
			calls++
		case strings.HasPrefix(line, "data: ") && !strings.Contains(line, `"proto":"http1"`):
			t.Fatalf("another call: %s", line)
		case strings.Contains(line, `"name":"Authorization"`) && strings.Contains(line, "Bearer ey"):
			t.Errorf("a secret: %s", line)
		}
	}
	if calls < 200 {
		t.Errorf("%d calls, %v", calls, in.Err())
	}
	res.Body.Close() // another client may come
	for end := time.Now().Add(20 * time.Second); open("", token).StatusCode != 200; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the stream of a client that left is still counted")
		}
	}
}

// TestMetricsFollowTheRulesOfOtherPaths: a scrape needs a token and a live run, and shows no secret.
func TestMetricsFollowTheRulesOfOtherPaths(t *testing.T) {
	scrape := func(s *Server, token string) (int, string) {
		t.Helper()
		w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
		r.Host = "127.0.0.1"
		r.Header.Set("Authorization", "Bearer "+token)
		s.Handler(HTTPOptions{Tokens: []door.Token{door.NewToken("ann", "a-long-enough-token")}}).ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	s := tailing(t)
	if code, text := scrape(s, "another"); code != 401 {
		t.Errorf("without its token: %d %s", code, text)
	}
	for range 3 {
		code, text := scrape(s, "a-long-enough-token")
		if code != 200 || !strings.Contains(text, "\npcapsule_live_count_failures_total 0\n") {
			t.Errorf("%d %.300s", code, text)
		}
	}
	if _, text := scrape(s, "a-long-enough-token"); !strings.Contains(text, `pcapsule_live_calls_total{destination="`) || !strings.Contains(text, `protocol="http1"`) {
		t.Errorf("no calls: %.3000s", text)
	}
	none := serving(t, Options{}, bundled(t, "dns.pcap"))
	if code, text := scrape(none, "a-long-enough-token"); code != 409 {
		t.Errorf("without a ring: %d %s", code, text)
	}
}

// TestTailDropsASlowClient: it gets what waited for it, and then the reason. This client reads nothing
// until the stream has ended.
func TestTailDropsASlowClient(t *testing.T) {
	stream := &tail{s: tailing(t), page: tools.ShapedPage{Limit: tools.MaxRows, Format: "full"}}
	out := &eventQueue{wake: make(chan struct{}, 1)}
	stream.run(t.Context(), out)
	w := httptest.NewRecorder()
	if err := out.write(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	text := w.Body.Bytes()
	last := bytes.LastIndex(text, []byte("event: "))
	if !bytes.HasPrefix(text[last:], []byte("event: end\ndata: {\"reason\":\"slow\"")) || !bytes.Contains(text[last:], []byte("later calls are not sent")) {
		t.Errorf("the last event is %s", text[last:])
	}
	call := []byte("event: call")
	if n, not := bytes.Count(text, call), bytes.Count(stream.events, call); n < 1000 || n != stream.rows-not || len(text) > tailQueue+1000 {
		t.Errorf("%d of %d calls, %d did not fit; %d bytes", n, stream.rows, not, len(text))
	}
}

// broken is a client that is gone.
type broken struct{ *httptest.ResponseRecorder }

func (broken) Write([]byte) (int, error) { return 0, errors.New("connection reset") }

func TestTailEndsWithItsClient(t *testing.T) {
	s := tailing(t)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.restTail(broken{httptest.NewRecorder()}, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/mcp/tail", nil))
	}()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the stream continues")
	}
}
