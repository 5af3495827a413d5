package store

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/store/storetest"
)

// newServer starts an S3 server and opens its store.
func newServer(t *testing.T) (*storetest.Server, *Store) {
	f := storetest.New(t)
	return f, opened(t, "s3://evidence?use_path_style=true")
}

// next is the next request to end at: those in the middle are about one file like another.
func next(n int) int {
	if n >= 8 && n < 24 {
		return n + 4
	}
	return n + 1
}

// TestPushEndsAtEachRequest ends a push at each of its requests: its credentials expire, or its program is
// killed after the server has carried out the request. The store has no bundle or the whole bundle, and the
// same push again completes it.
func TestPushEndsAtEachRequest(t *testing.T) {
	dir := made(t, "dns.pcap")
	for _, how := range []storetest.Fault{storetest.Refused, storetest.Lost} {
		for n := 0; ; n = next(n) {
			f, s := newServer(t)
			f.Fail(storetest.From(n, how))
			_, err := s.Push(t.Context(), dir, nil)
			f.Fail(nil)
			list, err2 := s.List(t.Context())
			if err2 != nil {
				t.Fatal(err2)
			}
			if err == nil {
				if n < 30 || len(list) != 1 || !list[0].Whole {
					t.Errorf("%d requests, %+v", n, list)
				}
				break
			}
			if how == storetest.Refused && !errors.Is(err, fs.ErrPermission) {
				t.Errorf("request %d: %v", n, err)
			}
			if r, err := s.Check(t.Context(), name, nil); len(list) == 1 && list[0].Whole && (err != nil || !r.OK()) {
				t.Errorf("request %d: a bundle that is not whole: %v", n, err)
			}
			pushed(t, s, dir)
			if r, err := s.Check(t.Context(), name, nil); err != nil || !r.OK() {
				t.Errorf("request %d, pushed again: %v", n, err)
			}
			for _, key := range f.Keys() {
				if strings.HasSuffix(key, marker) {
					t.Errorf("request %d, pushed again: %s is left", n, key)
				}
			}
		}
	}
}

// TestReadingEndsAtEachRequest ends a fetch, and the use of a bundle in place, at each request: its credentials
// expire, or the bundle is deleted. There is an error that says so, nothing gets a name, and the same again
// completes it.
func TestReadingEndsAtEachRequest(t *testing.T) {
	dir := made(t, "dns.pcap")
	inPlace := func(s *Store, here string) error {
		b, err := s.Find(t.Context(), name)
		if err != nil {
			return err
		}
		if _, err := os.Stat(here); err != nil {
			if err := b.Copy(t.Context(), here, nil); err != nil {
				return err
			}
		}
		opened, _, err := b.Open(t.Context(), here)
		if err != nil {
			return err
		}
		in := &opened.Manifest.Inputs[0]
		file, err := opened.OpenInput(in)
		if err != nil {
			return err
		}
		_, err = io.ReadAll(io.NewSectionReader(file, 0, in.Size))
		return err
	}
	fetch := func(s *Store, here string) error {
		r, err := s.Fetch(t.Context(), name, here, nil)
		if err == nil {
			err = r.Err()
		}
		return err
	}
	for what, read := range map[string]func(*Store, string) error{"in place": inPlace, "fetch": fetch} {
		for _, deleted := range []bool{false, true} {
			f, s := newServer(t)
			for n := 0; ; n = next(n) {
				pushed(t, s, dir)
				here := filepath.Join(t.TempDir(), "here.pcapsule")
				want := fs.ErrPermission
				f.Fail(storetest.From(n, storetest.Refused))
				if deleted {
					want = fs.ErrNotExist
					f.Fail(func(i int) storetest.Fault {
						if i == n {
							f.Clear()
						}
						return storetest.Served
					})
				}
				err := read(s, here)
				f.Fail(nil)
				if err == nil {
					if n < 10 {
						t.Errorf("%s: %d requests", what, n)
					}
					break
				}
				if !errors.Is(err, want) && !(deleted && n == 0 && errors.Is(err, ErrNone)) {
					t.Errorf("%s, request %d: %v, want: %v", what, n, err, want)
				}
				if _, err := os.Stat(here); err == nil && what == "fetch" {
					t.Errorf("%s, request %d: the folder has its name", what, n)
				}
				pushed(t, s, dir)
				if err := read(s, here); err != nil {
					t.Errorf("%s, request %d, again: %v", what, n, err)
				}
			}
		}
	}
}

// TestTwoPushesAtOnce pushes under one name, the second at each request of the first. With another bundle, one
// of them wins and its bundle is whole; the same bundle is there twice without an error.
func TestTwoPushesAtOnce(t *testing.T) {
	dir, other := made(t, "dns.pcap"), filepath.Join(t.TempDir(), name)
	if err := os.Rename(made(t, "redis.pcap"), other); err != nil {
		t.Fatal(err)
	}
	for _, second := range []string{dir, other} {
		for n := 0; ; n = next(n) {
			f, s := newServer(t)
			var err2 error
			requests := 0
			f.Fail(func(i int) storetest.Fault {
				if requests = i; i == n { // the other one takes over now
					f.Serve(func() { _, err2 = s.Push(t.Context(), second, nil) })
				}
				return storetest.Served
			})
			_, err := s.Push(t.Context(), dir, nil)
			f.Fail(nil)
			for _, err := range []error{err, err2} {
				if err != nil && (second == dir || !errors.Is(err, ErrTaken) && !errors.Is(err, ErrBusy)) {
					t.Errorf("request %d: %v", n, err)
				}
			}
			if err != nil && err2 != nil {
				t.Errorf("request %d: neither wins: %v; %v", n, err, err2)
			}
			if r, err := s.Check(t.Context(), name, nil); err != nil || !r.OK() {
				t.Errorf("request %d: %+v, %v", n, r, err)
			}
			if requests < n {
				break
			}
		}
	}
}
