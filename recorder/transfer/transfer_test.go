package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// folder creates files and lists them.
func folder(t *testing.T, files map[string]string) (string, []File) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list, err := List(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return dir, list
}

// sender serves a folder; through may wrap the handler.
func sender(t *testing.T, dir string, list []File, through func(http.Handler) http.Handler) *url.URL {
	t.Helper()
	var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, ok := Find(list, strings.TrimPrefix(r.URL.Path, "/files/"))
		if !ok {
			http.Error(w, "no such file", http.StatusNotFound)
			return
		}
		Serve(w, r, dir, f)
	})
	if through != nil {
		h = through(h)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	u, err := url.Parse(server.URL + "/files")
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func fetcher() *Fetcher {
	return &Fetcher{Tries: 2, Pause: time.Millisecond, Idle: 5 * time.Second}
}

func web(u *url.URL) Web { return Web{Base: u, Client: &http.Client{}} }

// same checks that two folders have the listed files, and nothing else.
func same(t *testing.T, dir string, list []File) {
	t.Helper()
	got, err := List(dir, nil)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(list) {
		t.Errorf("received %v, %v; want %v", got, err, list)
	}
	if _, err := os.Stat(filepath.Join(dir, partFolder)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("unfinished files are left: %v", err)
	}
}

var files = map[string]string{"a": "first", "empty": "", "data/packets/b": strings.Repeat("0123456789", 40), "data/c d%2e": "x"}

func TestFetch(t *testing.T) {
	dir, list := folder(t, files)
	to := t.TempDir()
	var n int64
	f := fetcher()
	f.Progress = func(k int64) { n += k }
	if err := f.Fetch(t.Context(), web(sender(t, dir, list, nil)), list, to); err != nil {
		t.Fatal(err)
	}
	same(t, to, list)
	if n != Total(list) {
		t.Errorf("progress of %d bytes, want %d", n, Total(list))
	}
}

// cutter ends each response after n bytes.
type cutter struct {
	http.ResponseWriter
	n int
}

func (c *cutter) Write(p []byte) (int, error) {
	if len(p) > c.n {
		if c.n > 0 {
			if _, err := c.ResponseWriter.Write(p[:c.n]); err != nil {
				return 0, err
			}
		}
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	c.n -= len(p)
	return c.ResponseWriter.Write(p)
}

func TestCutConnections(t *testing.T) {
	dir, list := folder(t, files)
	for _, every := range []int{1, 2, 7, 399, 400, 401} {
		t.Run(fmt.Sprint(every), func(t *testing.T) {
			sent := 0
			u := sender(t, dir, list, func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					sent++
					h.ServeHTTP(&cutter{w, every}, r)
				})
			})
			to := t.TempDir()
			if err := fetcher().Fetch(t.Context(), web(u), list, to); err != nil {
				t.Fatal(err)
			}
			same(t, to, list)
			if want := 400 / every; sent < want {
				t.Errorf("%d requests, want at least %d: what is there was sent again", sent, want)
			}
		})
	}
}

// TestContinueAfterEnd kills the receiver after each byte and starts another.
func TestContinueAfterEnd(t *testing.T) {
	dir, list := folder(t, files)
	to := t.TempDir()
	sent := 0
	u := sender(t, dir, list, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sent++
			h.ServeHTTP(&cutter{w, 37}, r)
		})
	})
	for try := 0; ; try++ {
		ctx, cancel := context.WithCancel(t.Context())
		f := fetcher()
		f.Tries = 1
		arrived := int64(0)
		f.Progress = func(n int64) {
			if arrived += n; n <= 37 && sent > try {
				cancel()
			}
		}
		err := f.Fetch(ctx, web(u), list, to)
		cancel()
		if err == nil {
			break
		}
		if try > 100 {
			t.Fatal("it does not get further")
		}
		if _, err := os.Stat(filepath.Join(to, "data/packets/b")); err == nil && !whole(to, list) {
			t.Fatal("an unfinished file has its name")
		}
	}
	same(t, to, list)
}

func whole(dir string, list []File) bool {
	for _, f := range list {
		if info, err := os.Stat(filepath.Join(dir, f.Name)); err == nil && info.Size() != f.Size {
			return false
		}
	}
	return true
}

// alteration is a way in which a file is not the listed one.
type alteration struct {
	name    string
	change  func(dir string, list []File)
	through func(http.Handler) http.Handler
	want    string
}

func alterations(t *testing.T) []alteration {
	swap := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			for k, v := range rec.Header() {
				w.Header()[k] = v
			}
			w.WriteHeader(rec.Code)
			w.Write(bytes.ReplaceAll(rec.Body.Bytes(), []byte("5"), []byte("6")))
		})
	}
	return []alteration{
		{"in transit", nil, swap, "was altered: it has SHA-256"},
		{"another byte on the sender's disk", func(dir string, _ []File) { write(t, dir, "a", "fIrst") }, nil, "was altered: it has SHA-256"},
		{"cut on the sender's disk", func(dir string, _ []File) { write(t, dir, "a", "fir") }, nil, "was altered: the sender no longer has"},
		{"grown on the sender's disk", func(dir string, _ []File) { write(t, dir, "a", "first!") }, nil, "was altered: the sender no longer has"},
		{"another listing", func(_ string, list []File) { list[0].SHA256 = strings.Repeat("0", 64) }, nil, "was altered: the sender no longer has"},
		{"removed", func(dir string, _ []File) { os.Remove(filepath.Join(dir, "a")) }, nil, "410 Gone"},
		{"a link out of the folder", func(dir string, _ []File) {
			os.Remove(filepath.Join(dir, "a"))
			os.Symlink("/etc/passwd", filepath.Join(dir, "a"))
		}, nil, "410 Gone"},
		{"no byte", nil, func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "busy", http.StatusServiceUnavailable) })
		}, "503 Service Unavailable: busy"},
		{"a server that ignores If-Match", nil, func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("ETag", `"another"`)
				w.Write([]byte("first"))
			})
		}, "was altered: the sender no longer has"},
		{"more bytes than listed", nil, func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("ETag", r.Header.Get("If-Match"))
				w.Write(make([]byte, 1000))
			})
		}, "more than the 5 bytes"},
	}
}

func TestAlteredFiles(t *testing.T) {
	for _, tt := range alterations(t) {
		t.Run(tt.name, func(t *testing.T) {
			dir, list := folder(t, files)
			asked := append([]File{}, list...)
			if tt.change != nil {
				tt.change(dir, asked)
			}
			to := t.TempDir()
			err := fetcher().Fetch(t.Context(), web(sender(t, dir, list, tt.through)), asked, to)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			got, _ := List(to, nil)
			var altered AlteredErrors
			if errors.As(err, &altered) && len(got) != len(list)-len(altered) {
				t.Errorf("%d of %d files came with %d altered", len(got), len(list), len(altered))
			}
			for _, f := range got {
				if want, ok := Find(list, f.Name); !ok || want != f {
					t.Errorf("%v has its name, want %v", f, want)
				}
			}
		})
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestStalledConnection(t *testing.T) {
	dir, list := folder(t, map[string]string{"a": "first"})
	u := sender(t, dir, list, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", r.Header.Get("If-Match"))
			w.Write([]byte("fi"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})
	})
	f := fetcher()
	f.Idle, f.Tries = 20*time.Millisecond, 1
	if err := f.Fetch(t.Context(), web(u), list, t.TempDir()); err == nil || !strings.Contains(err.Error(), "no byte arrived") && !strings.Contains(err.Error(), "200") {
		t.Errorf("%v", err)
	}
}

func TestCheck(t *testing.T) {
	h := strings.Repeat("a", 64)
	for _, tt := range []struct {
		name string
		list []File
		ok   bool
	}{
		{"plain names", []File{{"a", 1, h}, {"b/c", 0, h}}, true},
		{"upwards", []File{{"../a", 1, h}}, false},
		{"upwards inside", []File{{"a/../../b", 1, h}}, false},
		{"absolute", []File{{"/etc/passwd", 1, h}}, false},
		{"empty", []File{{"", 1, h}}, false},
		{"the folder", []File{{".", 1, h}}, false},
		{"hidden", []File{{".part/x", 1, h}}, false},
		{"hidden below", []File{{"a/.ssh/x", 1, h}}, false},
		{"backslashes", []File{{`a\..\b`, 1, h}}, false},
		{"a drive", []File{{"c:x", 1, h}}, false},
		{"NUL", []File{{"a\x00b", 1, h}}, false},
		{"long", []File{{strings.Repeat("a", 2000), 1, h}}, false},
		{"negative size", []File{{"a", -1, h}}, false},
		{"a short hash", []File{{"a", 1, h[1:]}}, false},
		{"a hash that is a path", []File{{"a", 1, "../" + h[3:]}}, false},
		{"capitals in a hash", []File{{"a", 1, strings.ToUpper(h)}}, false},
		{"twice", []File{{"a", 1, h}, {"a", 1, h}}, false},
		{"twice but for case", []File{{"a", 1, h}, {"A", 1, h}}, false},
		{"a file as a folder", []File{{"a", 1, h}, {"a/b", 1, h}}, false},
		{"a folder as a file", []File{{"a/b", 1, h}, {"a", 1, h}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := Check(tt.list); (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrListing) {
				t.Errorf("%v", err)
			}
			if !tt.ok {
				if err := fetcher().Fetch(t.Context(), web(&url.URL{}), tt.list, t.TempDir()); !errors.Is(err, ErrListing) {
					t.Errorf("fetching: %v", err)
				}
			}
		})
	}
}
