package stores_test

import (
	"encoding/xml"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/cli/clitest"
)

// bucket is a read-only S3 server about a folder, which counts what it sends.
type bucket struct {
	dir  string
	sent atomic.Int64
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/evidence"), "/")
	counted := &counter{w, &b.sent}
	if key == "" {
		b.list(counted, r.URL.Query().Get("prefix"))
		return
	}
	f, err := os.Open(filepath.Join(b.dir, filepath.FromSlash(key)))
	if err != nil {
		http.Error(w, "<Error><Code>NoSuchKey</Code></Error>", http.StatusNotFound)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("ETag", tagOf(info))
	http.ServeContent(counted, r, "", info.ModTime(), f)
}

func tagOf(info fs.FileInfo) string {
	return fmt.Sprintf(`"%x-%x"`, info.ModTime().UnixNano(), info.Size())
}

func (b *bucket) list(w http.ResponseWriter, prefix string) {
	type object struct {
		Key, LastModified, ETag string
		Size                    int64
	}
	var all struct {
		XMLName     xml.Name `xml:"ListBucketResult"`
		IsTruncated bool
		Contents    []object
	}
	filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(b.dir, path)
		if key := filepath.ToSlash(rel); err == nil && !d.IsDir() && strings.HasPrefix(key, prefix) {
			if info, err := d.Info(); err == nil {
				all.Contents = append(all.Contents, object{key, info.ModTime().UTC().Format(time.RFC3339), tagOf(info), info.Size()})
			}
		}
		return err
	})
	xml.NewEncoder(w).Encode(all)
}

// counter counts the bytes of answers.
type counter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n.Add(int64(n))
	return n, err
}

// repeated is a capture of the shop's traffic once in two minutes, as often as doubling makes it.
func repeated(t *testing.T, doublings int) string {
	t.Helper()
	dir := t.TempDir()
	run := func(program string, args ...string) {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("needs " + program)
		}
		if out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", program, err, out)
		}
	}
	all := "../../samples/shop.pcapng"
	for i := range doublings {
		later, both := filepath.Join(dir, fmt.Sprintf("later-%d.pcapng", i)), filepath.Join(dir, fmt.Sprintf("both-%d.pcapng", i))
		run("editcap", "-t", fmt.Sprint(120<<i), all, later)
		run("mergecap", "-a", "-w", both, all, later)
		all = both
	}
	return all
}

// TestTenQuestionsInPlace asks ten questions about a bundle in a store. All of them together read less than a tenth of
// its bytes, also those about packets, and the first one is answered in about a second.
func TestTenQuestionsInPlace(t *testing.T) {
	b := &bucket{dir: t.TempDir()}
	path := filepath.Join(b.dir, "shop.pcapsule")
	c, stderr := clitest.Program(t, "bundle", repeated(t, 7), "-o", path)
	if err := c.Run(); err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	total := int64(0)
	filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if info, err := d.Info(); err == nil && !d.IsDir() {
			total += info.Size()
		}
		return err
	})
	server := httptest.NewServer(b)
	defer server.Close()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for k, v := range map[string]string{"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "REGION": "us-east-1", "S3_USE_PATH_STYLE": "true", "ENDPOINT_URL": server.URL} {
		t.Setenv("AWS_"+k, v)
	}
	var cpu time.Duration
	for i, question := range [][]string{
		{"query", "http && status_code >= 500"}, {"query", "redis && failed"}, {"sql", "select protocol, count(*) from calls group by 1"},
		{"ask", "find-failures"}, {"ask", "get-service-map"}, {"ask", "get-overview"}, {"query", "dns", "--limit", "5"},
		{"sql", "select max(elapsed_us) from calls"}, {"show", "1"}, {"follow", "1"},
	} {
		at := 1
		if question[0] == "ask" {
			at = 2
		}
		args := slices.Insert(question, at, "s3://evidence/shop.pcapsule")
		c, stderr := clitest.Program(t, args...)
		if err := c.Run(); err != nil {
			t.Fatalf("%q: %v: %s", question, err, stderr)
		}
		if i == 0 {
			cpu = c.ProcessState.UserTime() + c.ProcessState.SystemTime()
		}
	}
	t.Logf("%d of %d bytes (%.1f %%); the first answer took %s of processor time", b.sent.Load(), total, 100*float64(b.sent.Load())/float64(total), cpu)
	if b.sent.Load() >= total/10 {
		t.Errorf("%d of %d bytes were read", b.sent.Load(), total)
	}
	if b.sent.Load() < total/1000 {
		t.Errorf("%d bytes were read: the questions did not reach the store", b.sent.Load())
	}
	if cpu > 2*time.Second { // on an idle machine it takes 0.3 s
		t.Errorf("the first question took %s of processor time", cpu)
	}
}
