package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// TestFaultyServers reads the second block of an object of S3 servers with faults: it has its bytes, or
// there is an error in a limited time.
func TestFaultyServers(t *testing.T) {
	const size = blockSize + 1000
	whole := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
	copy(whole[blockSize:], "second block")
	day := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var damaged *bundle.DamagedError
	says := func(text string) func(error) bool {
		return func(err error) bool { return err != nil && strings.Contains(err.Error(), text) }
	}
	refuse := func(code int, word string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", word, word)
		}
	}
	send := func(length int, data []byte, modified time.Time) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", blockSize, size-1, size))
			w.Header().Set("Content-Length", fmt.Sprint(length))
			w.Header().Set("Last-Modified", modified.Format(http.TimeFormat))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(data)
		}
	}
	second := whole[blockSize:]
	rows := []struct {
		what  string
		serve http.HandlerFunc
		want  func(error) bool
	}{
		{"a good server", send(len(second), second, day), func(err error) bool { return err == nil }},
		{"a body that ends early", send(len(second), second[:10], day), says("unexpected EOF")},
		{"a shorter range", send(10, second[:10], day), says("unexpected EOF")},
		{"the whole object instead of the range", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Last-Modified", day.Format(http.TimeFormat))
			w.Header().Set("Content-Length", fmt.Sprint(size))
			w.Write(whole)
		}, says("did not send the range")},
		{"a range of another place", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(second)-1, size))
			w.Header().Set("Content-Length", fmt.Sprint(len(second)))
			w.Header().Set("Last-Modified", day.Format(http.TimeFormat))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(whole[:len(second)])
		}, says("did not send the range")},
		{"an object that was replaced in the same second by one of the same size", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"another"`)
			send(len(second), bytes.Repeat([]byte("x"), len(second)), day)(w, r)
		}, func(err error) bool { return errors.As(err, &damaged) }},
		{"an object with its tag", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"tag"`)
			send(len(second), second, day)(w, r)
		}, func(err error) bool { return err == nil }},
		{"an object that changed", send(len(second), second, day.Add(time.Hour)), func(err error) bool { return errors.As(err, &damaged) }},
		{"a bundle that was deleted", refuse(http.StatusNotFound, "NoSuchKey"), func(err error) bool { return errors.Is(err, fs.ErrNotExist) }},
		{"credentials that expired", refuse(http.StatusForbidden, "ExpiredToken"), says("ExpiredToken")},
		{"a server that stalls", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, says("deadline exceeded")},
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "testsecret")
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_S3_USE_PATH_STYLE", "true")
	for _, row := range rows {
		server := httptest.NewServer(row.serve)
		t.Setenv("AWS_ENDPOINT_URL", server.URL)
		s := opened(t, "s3://evidence")
		p := newPackets(t.Context(), s, name, map[string]object{"x": {size: size, time: day, tag: `"tag"`}})
		if strings.Contains(row.what, "stalls") {
			p.wait = 300 * time.Millisecond
		}
		data, err := p.load(block{"x", 1}, int64(len(second)))
		if !row.want(err) || err == nil && !bytes.Equal(data, second) {
			t.Errorf("%s: %q, %v", row.what, data[:min(12, len(data))], err)
		}
		server.CloseClientConnections()
		server.Close()
	}
}
