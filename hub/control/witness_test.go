package control

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pcapsule/pcapsule/hub/collect"
	"github.com/pcapsule/pcapsule/hub/resource"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

// TestRingsAreCountersigned: the hub signs the ring of each part, finds it again in later parts, and says which node has
// cut or rewritten what it had seen. A part whose window ended before is not blamed for being older.
func TestRingsAreCountersigned(t *testing.T) {
	c := newCluster(t, "a", "b")
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.witness = &collect.Witness{Dir: t.TempDir(), Name: "hub", Key: func() (ed25519.PrivateKey, error) { return key, nil }}
	stop := c.start()
	now := func(s *resource.Snapshot) { s.Spec.To = v1.Now().UTC().Format(time.RFC3339Nano) }
	seen := func(name, node string) collect.Seen {
		s := c.await(name, finished)
		v, ok := c.stamped.Load(filepath.Join(c.dir, string(s.UID), "bundles", node+".pcapsule"))
		if !ok {
			t.Fatalf("%s: nothing was added to the bundle of %s", name, node)
		}
		return v.(collect.Seen)
	}
	c.create("first", namespace, now)
	anchor := seen("first", "a").Anchor
	if anchor == nil {
		t.Fatal("no anchor")
	}
	report, _, err := ring.CheckChain(c.node["a"].ring, ring.VerifyOptions{Anchors: []ring.Anchor{*anchor}, Witnesses: []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}})
	if err != nil || !report.OK() || report.Anchored < 0 {
		t.Errorf("the anchor is not in the ring: %+v, %v", report, err)
	}
	stop() // the anchors are on the hub's disk
	c.start()
	seals := filepath.Join(c.node["a"].ring, "seals.jsonl")
	text, err := os.ReadFile(seals)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	for name, tt := range map[string]struct {
		ring []byte
		want string
	}{
		"intact":    {text, ""},
		"cut":       {bytes.Join(lines[:len(lines)-3], nil), "its tail was cut"},
		"rewritten": {forge(t, lines), "has another hash"},
	} {
		if err := os.WriteFile(seals, tt.ring, 0o644); err != nil {
			t.Fatal(err)
		}
		c.create(name, namespace, now)
		if s := seen(name, "a"); (s.Problem == "") != (tt.want == "") || !strings.Contains(s.Problem, tt.want) {
			t.Errorf("%s: %+v, want %q", name, s, tt.want)
		}
		if s := seen(name, "b"); s.Problem != "" {
			t.Errorf("%s: node b is blamed: %s", name, s.Problem)
		}
		n := c.get(name, namespace).Status.Find("a")
		if strings.Contains(n.Message, "not the one that the hub saw before") != (tt.want != "") {
			t.Errorf("%s: status %+v", name, n)
		}
	}
	if err := os.WriteFile(seals, bytes.Join(lines[:len(lines)-3], nil), 0o644); err != nil {
		t.Fatal(err)
	}
	c.create("older", namespace, func(s *resource.Snapshot) { s.Spec.From, s.Spec.To = "2000-01-01T00:00:00Z", "2020-01-01T00:00:00Z" })
	if s := seen("older", "a"); s.Problem != "" {
		t.Errorf("a part from before the anchors is blamed: %s", s.Problem)
	}
}

// forge writes a chain again with a change in its second record, so that each later record fits, as somebody could who
// has the node's key.
func forge(t *testing.T, lines [][]byte) (text []byte) {
	was, is := "", ""
	for i, line := range lines {
		body, ok := bytes.CutPrefix(bytes.TrimSuffix(line, []byte("}\n")), []byte(`{"record":`))
		if !ok {
			continue // after the last
		}
		old := sha256.Sum256(body)
		body = bytes.Replace(body, []byte(was), []byte(is), 1)
		if i == 1 {
			if body = bytes.Replace(body, []byte(`"test"`), []byte(`"tesT"`), 1); sha256.Sum256(body) == old {
				t.Fatalf("nothing was changed in %s", body)
			}
		}
		now := sha256.Sum256(body)
		was, is = hex.EncodeToString(old[:]), hex.EncodeToString(now[:])
		text = append(append(append(text, `{"record":`...), body...), "}\n"...)
	}
	return text
}
