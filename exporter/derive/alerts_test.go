package derive_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/derive"
)

// sceneStep is the time between two packets of a scene, ns.
const sceneStep = 1_000_003

// withAlerts is a bundle of a conversation for each secret, with an alert that quotes it from each request.
func withAlerts(t *testing.T, secrets ...string) *bundle.Bundle {
	t.Helper()
	s := newScene(t)
	var log strings.Builder
	for i, secret := range secrets {
		for at := 0; at < 4; at++ { // the request is the fourth packet
			fmt.Fprintf(&log, `{"timestamp":%q,"event_type":"alert","src_ip":"10.0.0.1","src_port":%d,"dest_ip":"10.0.0.2","dest_port":80,"proto":"TCP","community_id":"1:abc%d","alert":{"gid":1,"signature_id":%d,"rev":1,"signature":"ET TEST rule"},`+
				`"http":{"hostname":"h","url":"/?password=%s","http_user_agent":%q},"payload_printable":%q,"fileinfo":{"filename":%q}}`+"\n",
				time.Unix(0, s.at+int64(at+1)*sceneStep).UTC().Format(time.RFC3339Nano), 40001+i, i, at, secret, secret, secret, secret)
		}
		s.talk(80, say{data: request("X-Api-Key: "+secret+"\r\n", "first"), mss: 400}, answer("", "key "+secret))
	}
	eve := filepath.Join(t.TempDir(), "eve-log.json")
	if err := os.WriteFile(eve, []byte(log.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "original.pcapsule")
	if _, err := exporter.Run(context.Background(), []string{s.save()}, out, exporter.Options{Release: "test", Repanic: true, Alerts: []string{eve}}); err != nil {
		t.Fatal(err)
	}
	return opened(t, out)
}

// holding lists the files of a bundle that have a text as it is.
func holding(t *testing.T, b *bundle.Bundle, text string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(b.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), text) {
			list = append(list, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestRedactedAlerts checks that a redaction leaves nothing that alerts quote, neither in rows nor in the kept lines, and
// keeps what their rules say.
func TestRedactedAlerts(t *testing.T) {
	const secret = "hunter2-correct-horse"
	b := withAlerts(t, secret)
	if len(holding(t, b, secret)) == 0 || derive.Find(context.Background(), b, "ET TEST rule") == "" {
		t.Fatal("the original has no alert that quotes the secret")
	}
	d, _ := redacted(t, b, "version: 1\nextends: default\n")
	if place := derive.Find(context.Background(), d, secret); place != "" {
		t.Errorf("the secret is left in %s", place)
	}
	for _, text := range []string{secret, "1:abc0", "eve-"} {
		if list := holding(t, d, text); len(list) > 0 {
			t.Errorf("%q is left in %s", text, list)
		}
	}
	if place := derive.Find(context.Background(), d, "ET TEST rule"); !strings.HasPrefix(place, "alerts") {
		t.Errorf("the rule is in %q", place)
	}
}

// TestCutAlerts checks that a cut keeps the alerts of its packets only, or none.
func TestCutAlerts(t *testing.T) {
	b := withAlerts(t, "first-secret-value", "other-secret-value")
	for conn, want := range map[int64]string{0: "first-secret-value", 1: "other-secret-value"} {
		out := filepath.Join(t.TempDir(), "cut.pcapsule")
		if _, err := derive.Cut(context.Background(), b, out, derive.Choice{Conns: map[int64]bool{conn: true}}, quiet); err != nil {
			t.Fatal(err)
		}
		d := opened(t, out)
		for _, secret := range []string{"first-secret-value", "other-secret-value"} {
			if place := derive.Find(context.Background(), d, secret); (place != "") != (secret == want) {
				t.Errorf("connection %d: %s is in %q", conn, secret, place)
			}
		}
		if place := derive.Find(context.Background(), d, "ET TEST rule"); !strings.HasPrefix(place, "alerts") {
			t.Errorf("connection %d: the rule is in %q", conn, place)
		}
	}
}
