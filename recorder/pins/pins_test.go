package pins

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/ring/ringtest"
	"github.com/pcapsule/pcapsule/recorder/transfer"
)

// filled makes a ring of several segments, and a client of its pins.
func filled(t *testing.T) (dir string, s *Store, c *Client) {
	t.Helper()
	data, err := os.ReadFile("../../samples/http1.pcapng")
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "ring")
	if _, err := ringtest.Fill(dir, data, 1, 20); err != nil {
		t.Fatal(err)
	}
	s = Open(dir, "n")
	server := httptest.NewServer(s.Handler(slog.New(slog.DiscardHandler)))
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return dir, s, &Client{u, server.Client()}
}

// bounds returns the times of the ring.
func bounds(t *testing.T, c *Client) (from, to ring.Time) {
	t.Helper()
	v, err := c.Coverage(t.Context())
	if err != nil || v.Segments < 3 || v.Packets == 0 || v.First >= v.Last {
		t.Fatalf("%+v, %v: want a ring of several segments", v, err)
	}
	return v.First, v.Last
}

func TestPinIsReceivedAsItWasSealed(t *testing.T) {
	dir, _, c := filled(t)
	from, to := bounds(t, c)
	p, err := c.Make(t.Context(), "p1", from, to)
	if err != nil {
		t.Fatal(err)
	}
	// What retention removes from the ring stays in the pin.
	for _, f := range p.Files {
		if strings.HasSuffix(f.Name, ".pcapng") {
			if err := os.Remove(filepath.Join(dir, f.Name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if again, err := c.Make(t.Context(), "p1", from, to); err != nil || !slices.Equal(again.Files, p.Files) {
		t.Fatalf("the same request again: %+v, %v", again, err)
	}
	got := t.TempDir()
	f := transfer.Fetcher{Tries: 1}
	if err := f.Fetch(t.Context(), c.Files("p1"), p.Files, got); err != nil {
		t.Fatal(err)
	}
	rep, err := ring.Verify(got, ring.VerifyOptions{})
	if err != nil || !rep.OK() {
		t.Errorf("what was received does not verify: %v, %v", rep, err)
	}
	if err := c.Release(t.Context(), "p1"); err != nil {
		t.Fatal(err)
	}
	if list, _ := os.ReadDir(filepath.Join(dir, folder)); len(list) > 0 {
		t.Errorf("left: %v", list)
	}
	if err := c.Release(t.Context(), "p1"); err != nil {
		t.Errorf("releasing again: %v", err)
	}
}

func TestWindowSelectsSegments(t *testing.T) {
	_, _, c := filled(t)
	from, to := bounds(t, c)
	all, err := c.Make(t.Context(), "all", from, to)
	if err != nil {
		t.Fatal(err)
	}
	one, err := c.Make(t.Context(), "one", from, from)
	if err != nil || one.Segments == 0 || one.Segments >= all.Segments || one.Packets >= all.Packets {
		t.Errorf("%d of %d segments, %v", one.Segments, all.Segments, err)
	}
	none, err := c.Make(t.Context(), "none", to+1, to+2)
	if err != nil || none.Segments != 0 || len(none.Files) == 0 {
		t.Errorf("a window without packets: %+v, %v; want its seals, which say why", none, err)
	}
}

func TestAlteredSegmentIsNoticed(t *testing.T) {
	dir, _, c := filled(t)
	from, to := bounds(t, c)
	list, err := ring.Segments(dir)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(list[1].Path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(list[1].Path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := c.Make(t.Context(), "p", from, to)
	if err != nil {
		t.Fatal(err)
	}
	got := t.TempDir()
	var altered transfer.AlteredErrors
	err = (&transfer.Fetcher{Tries: 1}).Fetch(t.Context(), c.Files("p"), p.Files, got)
	if !errors.As(err, &altered) || len(altered) != 1 || altered[0].Name != list[1].ID.Segment() {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(got, list[1].ID.Segment())); err == nil {
		t.Error("an altered segment has its name")
	}
}

func TestRejectedRequests(t *testing.T) {
	dir, s, c := filled(t)
	from, to := bounds(t, c)
	if _, err := c.Make(t.Context(), "taken", from, to); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, method, path, body string
		want                     int
	}{
		{"an upward name", "PUT", "/v1/pins/..%2fx", `{"from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z"}`, 400},
		{"a hidden name", "PUT", "/v1/pins/.new-x", `{"from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z"}`, 400},
		{"a long name", "PUT", "/v1/pins/" + strings.Repeat("a", 64), `{"from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z"}`, 400},
		{"no window", "PUT", "/v1/pins/x", `{}`, 400},
		{"an inverted window", "PUT", "/v1/pins/x", `{"from":"2026-01-02T00:00:00Z","to":"2026-01-01T00:00:00Z"}`, 400},
		{"a time beyond 64 bits", "PUT", "/v1/pins/x", `{"from":"2026-01-02T00:00:00Z","to":"9999-01-01T00:00:00Z"}`, 400},
		{"an unknown member", "PUT", "/v1/pins/x", `{"from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z","x":1}`, 400},
		{"a large body", "PUT", "/v1/pins/x", strings.Repeat(" ", 9999), 400},
		{"another window", "PUT", "/v1/pins/taken", `{"from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z"}`, 409},
		{"an unknown pin", "GET", "/v1/pins/unknown", "", 404},
		{"a file of an unknown pin", "GET", "/v1/pins/unknown/files/seals.jsonl", "", 404},
		{"a file that is not listed", "GET", "/v1/pins/taken/files/.listing.json", "", 404},
		{"an upward file", "GET", "/v1/pins/taken/files/..%2f..%2fseals.jsonl", "", 404},
		{"a ring's file", "GET", "/v1/pins/taken/files/%2e%2e/%2e%2e/seals.jsonl", "", 404},
		{"another method", "POST", "/v1/pins/x", "", 405},
		{"another path", "GET", "/", "", 404},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), tt.method, c.URL.String()+tt.path, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := c.HTTP.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if text, _ := io.ReadAll(resp.Body); resp.StatusCode != tt.want {
				t.Errorf("%d %s, want %d", resp.StatusCode, text, tt.want)
			}
		})
	}
	if names, err := s.names(); err != nil || len(names) != 1 {
		t.Errorf("pins %v, %v: rejected requests left something", names, err)
	}
	if _, err := (&Client{c.URL, c.HTTP}).Make(t.Context(), "taken", from, to+1); err == nil || !strings.Contains(err.Error(), "409") {
		t.Errorf("%v", err)
	}
	empty := httptest.NewServer(Open(filepath.Join(dir, "missing"), "n").Handler(slog.New(slog.DiscardHandler)))
	defer empty.Close()
	u, _ := url.Parse(empty.URL)
	var status *transfer.StatusError
	if _, err := (&Client{u, c.HTTP}).Coverage(t.Context()); !errors.As(err, &status) || status.Code != 503 {
		t.Errorf("without a ring: %v", err)
	}
}

// TestKilledWhilePinning checks that what a killed recorder left of a pin is not one.
func TestKilledWhilePinning(t *testing.T) {
	dir, s, c := filled(t)
	from, to := bounds(t, c)
	if _, err := c.Make(t.Context(), "old", from, to); err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(dir, folder, newMark+"half")
	if _, err := ring.Pin(t.Context(), dir, int64(from), int64(to), half, ring.PinOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, folder, "removed"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get("half"); !errors.Is(err, ErrNone) {
		t.Errorf("%v", err)
	}
	if _, err := c.Make(t.Context(), "half", from, to); err != nil {
		t.Errorf("after the kill: %v", err)
	}
	swept, err := s.Sweep(time.Now())
	if err != nil || !slices.Equal(swept, []string{"removed"}) {
		t.Errorf("swept %v, %v", swept, err)
	}
	swept, err = s.Sweep(time.Now().Add(25 * time.Hour))
	if err != nil || len(swept) != 2 {
		t.Errorf("a day later: swept %v, %v", swept, err)
	}
	list, err := ring.Segments(dir)
	if err != nil || len(list) < 3 || list[0].Missing {
		t.Errorf("the ring was changed: %v, %v", list, err)
	}
}

// TestRecorderThatIsWriting pins a ring without segments that a recorder has open.
func TestRecorderThatIsWriting(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ring")
	w, err := ring.Create(ring.Options{Dir: dir, Node: "n"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close(context.Background())
	p, err := Open(dir, "n").Make(t.Context(), "p", 1, ring.Time(time.Now().UnixNano()))
	if err != nil || p.Segments != 0 || len(p.Files) == 0 {
		t.Errorf("%+v, %v", p, err)
	}
}
