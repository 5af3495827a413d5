package store

import (
	"cmp"
	"crypto/md5"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fake is an S3 server in memory. hook, if not nil, sees each request first, with its number; if it returns
// refused, the server's credentials have expired; if lost, the request is carried out and the answer is lost.
type fake struct {
	mu      sync.Mutex
	n       int
	hook    func(n int, r *http.Request) fault
	objects map[string]stored
}

type fault int

const (
	served fault = iota
	refused
	lost
)

type stored struct {
	data []byte
	meta http.Header
	time time.Time
}

func newFake(t *testing.T) (*fake, *Store) {
	f := &fake{objects: map[string]stored{}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	for k, v := range map[string]string{"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "testsecret", "REGION": "us-east-1", "S3_USE_PATH_STYLE": "true", "ENDPOINT_URL": server.URL, "MAX_ATTEMPTS": "1"} {
		t.Setenv("AWS_"+k, v)
	}
	return f, opened(t, "s3://evidence?use_path_style=true")
}

// fail sets the hook and starts to count.
func (f *fake) fail(hook func(n int, r *http.Request) fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n, f.hook = 0, hook
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	how := served
	if f.hook != nil {
		how = f.hook(f.n, r)
	}
	f.n++
	switch how {
	case refused:
		refuse(w, http.StatusForbidden, "ExpiredToken")
	case lost:
		f.serve(httptest.NewRecorder(), r, body)
		panic(http.ErrAbortHandler)
	default:
		f.serve(w, r, body)
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, code)
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request, body []byte) {
	key := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/evidence"), "/")
	o, there := f.objects[key]
	switch {
	case key == "":
		f.list(w, r.URL.Query().Get("prefix"))
	case r.Method == http.MethodPut && there && r.Header.Get("If-None-Match") == "*":
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
	case r.Method == http.MethodPut:
		o = stored{body, http.Header{}, time.Now()}
		for name, values := range r.Header {
			if strings.HasPrefix(name, "X-Amz-Meta-") {
				o.meta[name] = values
			}
		}
		f.objects[key] = o
		w.Header().Set("ETag", o.tag())
	case r.Method == http.MethodDelete:
		delete(f.objects, key)
		w.WriteHeader(http.StatusNoContent)
	case !there:
		refuse(w, http.StatusNotFound, "NoSuchKey")
	default:
		maps.Copy(w.Header(), o.meta)
		w.Header().Set("ETag", o.tag())
		http.ServeContent(w, r, "", o.time, strings.NewReader(string(o.data)))
	}
}

func (o stored) tag() string { return fmt.Sprintf(`"%x"`, md5.Sum(o.data)) }

func (f *fake) list(w http.ResponseWriter, prefix string) {
	type object struct {
		Key, LastModified, ETag string
		Size                    int
	}
	var all struct {
		XMLName     xml.Name `xml:"ListBucketResult"`
		IsTruncated bool
		Contents    []object
	}
	for key, o := range f.objects {
		if strings.HasPrefix(key, prefix) {
			all.Contents = append(all.Contents, object{key, o.time.UTC().Format(time.RFC3339), o.tag(), len(o.data)})
		}
	}
	slices.SortFunc(all.Contents, func(a, b object) int { return cmp.Compare(a.Key, b.Key) })
	xml.NewEncoder(w).Encode(all)
}
