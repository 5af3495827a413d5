// Package storetest is an S3 server in memory whose requests can fail one by one.
package storetest

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

// Server is an S3 server with a bucket "evidence".
type Server struct {
	mu      sync.Mutex
	n       int
	hook    func(n int) Fault
	objects map[string]object
}

// Fault is the way in which a request fails.
type Fault int

const (
	Served  Fault = iota
	Refused       // because the credentials have expired
	Lost          // carried out, but the answer is lost
)

type object struct {
	data []byte
	meta http.Header
	time time.Time
}

// New starts a server, which S3 clients of the test's process use from now on.
func New(t *testing.T) *Server {
	f := &Server{objects: map[string]object{}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	for k, v := range map[string]string{"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "testsecret", "REGION": "us-east-1", "S3_USE_PATH_STYLE": "true", "ENDPOINT_URL": server.URL, "MAX_ATTEMPTS": "1"} {
		t.Setenv("AWS_"+k, v)
	}
	return f
}

// Fail calls hook before each request from now on, with its number from 0, one request at a time. A nil
// hook serves all.
func (f *Server) Fail(hook func(n int) Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n, f.hook = 0, hook
}

// Serve serves other requests while use runs. Only a hook may call it, and no further one is called.
func (f *Server) Serve(use func()) {
	f.hook = nil
	f.mu.Unlock()
	use()
	f.mu.Lock()
}

// Clear deletes all objects. Only a hook may call it.
func (f *Server) Clear() { clear(f.objects) }

// Keys are the names of all objects, in order.
func (f *Server) Keys() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.objects))
}

// From is a hook for which request n has a fault, and later ones are refused.
func From(n int, how Fault) func(int) Fault {
	return func(i int) Fault {
		switch {
		case i < n:
			return Served
		case i == n:
			return how
		}
		return Refused
	}
}

func (f *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	how := Served
	if f.hook != nil {
		how = f.hook(f.n)
	}
	f.n++
	switch how {
	case Refused:
		refuse(w, http.StatusForbidden, "ExpiredToken")
	case Lost:
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

func (f *Server) serve(w http.ResponseWriter, r *http.Request, body []byte) {
	key := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/evidence"), "/")
	o, there := f.objects[key]
	switch {
	case key == "":
		f.list(w, r.URL.Query().Get("prefix"))
	case r.Method == http.MethodPut && there && r.Header.Get("If-None-Match") == "*":
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
	case r.Method == http.MethodPut:
		o = object{body, http.Header{}, time.Now()}
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

func (o object) tag() string { return fmt.Sprintf(`"%x"`, md5.Sum(o.data)) }

func (f *Server) list(w http.ResponseWriter, prefix string) {
	type entry struct {
		Key, LastModified, ETag string
		Size                    int
	}
	var all struct {
		XMLName     xml.Name `xml:"ListBucketResult"`
		IsTruncated bool
		Contents    []entry
	}
	for key, o := range f.objects {
		if strings.HasPrefix(key, prefix) {
			all.Contents = append(all.Contents, entry{key, o.time.UTC().Format(time.RFC3339), o.tag(), len(o.data)})
		}
	}
	slices.SortFunc(all.Contents, func(a, b entry) int { return cmp.Compare(a.Key, b.Key) })
	xml.NewEncoder(w).Encode(all)
}
