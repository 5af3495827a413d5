package mutual

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority creates an issuer and its certificate in PEM.
func authority(t *testing.T) (*Issuer, []byte) {
	t.Helper()
	cert, key, err := NewIssuer("test", time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	i, err := ReadIssuer(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return i, cert
}

// pem returns a certificate and its key.
func issued(t *testing.T, i *Issuer, name string, server bool, valid time.Duration) (cert, key []byte) {
	t.Helper()
	k, key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	cert, err = i.Issue(k.Public(), []string{name}, server, valid, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func fixed(t *testing.T, cert, key, roots []byte) Source {
	t.Helper()
	p, err := Parse(cert, key, roots)
	if err != nil {
		t.Fatal(err)
	}
	return func() (*Pair, error) { return p, nil }
}

func serve(t *testing.T, source Source) string {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	s.TLS = Server(source, Hub)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func get(c *http.Client, url string) (string, error) {
	resp, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}

func TestWhoMayTalk(t *testing.T) {
	ours, root := authority(t)
	foreign, foreignRoot := authority(t)
	serverCert, serverKey := issued(t, ours, Node("a"), true, time.Hour)
	for _, tt := range []struct {
		name   string
		client func() Source
		server string // name that is asked for
		want   string // error; "" means accepted
	}{
		{"the hub", func() Source { c, k := issued(t, ours, Hub, false, time.Hour); return fixed(t, c, k, root) }, Node("a"), ""},
		{"another node", func() Source { c, k := issued(t, ours, Hub, false, time.Hour); return fixed(t, c, k, root) }, Node("b"), "not b.node.pcapsule"},
		{"a recorder", func() Source { c, k := issued(t, ours, Node("b"), true, time.Hour); return fixed(t, c, k, root) }, Node("a"), "bad certificate"},
		{"a client with a node's name", func() Source { c, k := issued(t, ours, Node("b"), false, time.Hour); return fixed(t, c, k, root) }, Node("a"), "bad certificate"},
		{"a hub of another authority", func() Source { c, k := issued(t, foreign, Hub, false, time.Hour); return fixed(t, c, k, root) }, Node("a"), "unknown certificate authority"},
		{"expired", func() Source { c, k := issued(t, ours, Hub, false, -time.Minute); return fixed(t, c, k, root) }, Node("a"), "expired certificate"},
		{"a server of another authority", func() Source { c, k := issued(t, ours, Hub, false, time.Hour); return fixed(t, c, k, foreignRoot) }, Node("a"), "unknown authority"},
		{"no certificate yet", func() Source { return func() (*Pair, error) { return nil, ErrNone } }, Node("a"), "no certificate yet"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := serve(t, fixed(t, serverCert, serverKey, root))
			text, err := get(Client(tt.client(), tt.server), url)
			if tt.want == "" && (err != nil || text != "hello") || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%q, %v; want error %q", text, err, tt.want)
			}
		})
	}
}

// TestExpiredServer checks that a hub does not talk to a node whose certificate has ended.
func TestExpiredServer(t *testing.T) {
	ours, root := authority(t)
	sc, sk := issued(t, ours, Node("a"), true, -time.Minute)
	c, k := issued(t, ours, Hub, false, time.Hour)
	if _, err := get(Client(fixed(t, c, k, root), Node("a")), serve(t, fixed(t, sc, sk, root))); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("%v", err)
	}
}

func TestFilesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	paths := [3]string{filepath.Join(dir, "crt"), filepath.Join(dir, "key"), filepath.Join(dir, "ca")}
	put := func(i int, data []byte) {
		t.Helper()
		tmp := paths[i] + ".new"
		if err := os.WriteFile(tmp, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(tmp, paths[i]); err != nil {
			t.Fatal(err)
		}
	}
	var errs []error
	source := Files(paths[0], paths[1], paths[2], func(err error) { errs = append(errs, err) })
	if _, err := source(); err == nil {
		t.Error("missing files are accepted")
	}
	old, oldRoot := authority(t)
	c, k := issued(t, old, Node("a"), true, time.Hour)
	put(0, c)
	put(1, k)
	put(2, oldRoot)
	url := serve(t, source)
	hc, hk := issued(t, old, Hub, false, time.Hour)
	if _, err := get(Client(fixed(t, hc, hk, oldRoot), Node("a")), url); err != nil {
		t.Fatal(err)
	}
	next, root := authority(t)
	c, k = issued(t, next, Node("a"), true, time.Hour)
	put(0, c) // the key does not fit yet
	if _, err := get(Client(fixed(t, hc, hk, oldRoot), Node("a")), url); err != nil || len(errs) == 0 {
		t.Errorf("in the middle of a change: %v, reported %v", err, errs)
	}
	put(1, k)
	put(2, root)
	if _, err := get(Client(fixed(t, hc, hk, oldRoot), Node("a")), url); err == nil {
		t.Error("the previous authority is still accepted")
	}
	hc, hk = issued(t, next, Hub, false, time.Hour)
	if _, err := get(Client(fixed(t, hc, hk, root), Node("a")), url); err != nil {
		t.Errorf("the new authority: %v", err)
	}
}

func TestReadIssuer(t *testing.T) {
	a, aKey, err := NewIssuer("a", time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	_, bKey, err := NewIssuer("b", time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	i, err := ReadIssuer(a, aKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, leafKey := issued(t, i, "x", true, time.Hour)
	for name, pair := range map[string][2][]byte{"another key": {a, bKey}, "no authority": {leaf, leafKey}, "empty": {nil, nil}, "exchanged": {aKey, a}, "no key": {a, nil}} {
		if _, err := ReadIssuer(pair[0], pair[1]); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
