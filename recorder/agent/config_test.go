package agent

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/recorder"
	"github.com/pcapsule/pcapsule/recorder/policy"
	"github.com/pcapsule/pcapsule/recorder/ring"
	"github.com/pcapsule/pcapsule/recorder/workload"
)

// flagged are the options of flags that a configuration is applied to.
func flagged(t *testing.T) Options {
	t.Helper()
	p := &policy.Policy{}
	if err := p.AddNever("port=9465"); err != nil {
		t.Fatal(err)
	}
	return Options{Labels: []string{"app"}, Record: recorder.Options{Filter: "not port 22", Snap: 500, Policy: p, Ring: &ring.Options{Dir: "r", SegmentBytes: 1 << 20, MaxBytes: 1 << 30, MaxAge: time.Hour}}}
}

// TestConfigurationsRestrict: a configuration adds to what the flags exclude, and takes nothing of it away.
func TestConfigurationsRestrict(t *testing.T) {
	for _, tt := range []struct {
		name, spec string
		is         func(Options) bool
	}{
		{"nothing", `{}`, func(o Options) bool { return o.Record.Policy.String() == "never port=9465; unknown: drop" }},
		{"rules", `{"never": [{"namespace": ["pay"], "port": [5432, "6000-6100"]}]}`, func(o Options) bool {
			return o.Record.Policy.String() == "never port=9465; namespace=pay port=5432 port=6000-6100; unknown: drop"
		}},
		{"owners", `{"only": {"namespace": ["shop"], "label": ["team=a"]}, "unknown": "drop"}`, func(o Options) bool {
			return strings.Contains(o.Record.Policy.Wanted(), "shop") && o.Record.Policy.Unknown == policy.Drop && strings.Join(o.Labels, " ") == "app team"
		}},
		{"a filter", `{"filter": "tcp or udp"}`, func(o Options) bool { return o.Record.Filter == "(not port 22) and (tcp or udp)" }},
		{"a shorter length", `{"snapshotLength": 100}`, func(o Options) bool { return o.Record.Snap == 100 }},
		{"a longer length", `{"snapshotLength": 1000}`, func(o Options) bool { return o.Record.Snap == 500 }},
		{"headers only", `{"headersOnly": true}`, func(o Options) bool { return o.Record.HeadersOnly }},
		{"a smaller ring", `{"retention": {"maxSize": "100Mi", "maxAge": "10m"}}`, func(o Options) bool {
			return o.Record.Ring.MaxBytes == 100<<20 && o.Record.Ring.MaxAge == 10*time.Minute
		}},
		{"a larger ring", `{"retention": {"maxSize": "100Gi", "maxAge": "24h"}}`, func(o Options) bool {
			return o.Record.Ring.MaxBytes == 1<<30 && o.Record.Ring.MaxAge == time.Hour
		}},
		{"an age of a namespace", `{"retention": {"namespaces": [{"namespace": "shop", "maxAge": "5m"}]}}`, func(o Options) bool {
			return len(o.Record.Policy.MaxAge) == 1 && o.Record.Policy.MaxAge[0].Age == 5*time.Minute
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base := flagged(t)
			k := known{UID: "u", Generation: 1, Spec: []byte(tt.spec)}
			o, err := k.options(base)
			if err != nil || !tt.is(o) {
				t.Errorf("%v: %+v, policy %s", err, o.Record, o.Record.Policy)
			}
			again, err := k.options(base)
			if err != nil || !tt.is(again) || base.Record.Policy.String() != "never port=9465; unknown: drop" || base.Record.Ring.MaxBytes != 1<<30 || len(base.Labels) != 1 {
				t.Errorf("the flags' options have changed: %+v, %v", base.Record, err)
			}
		})
	}
}

func TestBrokenConfigurationsAreRefused(t *testing.T) {
	for _, tt := range []struct{ name, spec, want string }{
		{"no object", `[]`, "cannot unmarshal"},
		{"an unknown member", `{"nevr": []}`, "nevr"},
		{"an unknown member of a rule", `{"never": [{"nmespace": ["a"]}]}`, "nmespace"},
		{"a rule without a condition", `{"never": [{}]}`, "no condition"},
		{"two specs", `{} {}`, "after the spec"},
		{"a filter's syntax", `{"filter": "tcp and"}`, "filter"},
		{"a filter that ends a parenthesis", `{"filter": "tcp) or (udp"}`, "filter"},
		{"more than the flags allow", `{"unknown": "keep"}`, "only drop"},
		{"a size", `{"retention": {"maxSize": "much"}}`, "maxSize"},
		{"a size below two segments", `{"retention": {"maxSize": "1Mi"}}`, "two segments"},
		{"an age", `{"retention": {"maxAge": "0s"}}`, "maxAge"},
		{"an age of a namespace", `{"retention": {"namespaces": [{"namespace": "a", "maxAge": "1ms"}]}}`, "whole seconds"},
		{"a file as a recipient", `{"keys": {"of": ["all"], "to": ["/etc/shadow"]}}`, "recipient"},
		{"keys without a reader", `{"keys": {"of": ["all"]}}`, "reads none"},
		{"a pattern", `{"never": [{"pattern": "("}]}`, "missing closing"},
		{"a port", `{"never": [{"port": ["70000"]}]}`, "70000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := known{UID: "u", Generation: 1, Spec: []byte(tt.spec)}
			if _, err := k.options(flagged(t)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	base := flagged(t)
	base.Record.Policy.Only = workload.Selector{Namespaces: []string{"shop"}}
	k := known{UID: "u", Generation: 1, Spec: []byte(`{"only": {"namespace": ["pay"]}}`)}
	if _, err := k.options(base); err == nil || !strings.Contains(err.Error(), "flags already choose") {
		t.Errorf("owners beyond those of the flags: %v", err)
	}
}

// TestDamagedConfigurationStopsTheStart: exclusions that were in force are not forgotten silently.
func TestDamagedConfigurationStopsTheStart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ring")
	if err := os.WriteFile(dir+".config.json", []byte(`{"uid": `), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openConfig(dir); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Error(err)
	}
}

// TestBrokenVersionComesBeforeTheFirstRecording has an API that answers at once: the version that was in force when the
// recorder ended stays, and is not forgotten.
func TestBrokenVersionComesBeforeTheFirstRecording(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ring")
	if err := os.WriteFile(dir+".config.json", []byte(`{"uid": "u", "generation": 1, "spec": {"never": [{"port": [53]}]}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := openConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{o: flagged(t), config: c}
	a.o.Log = slog.New(slog.DiscardHandler)
	broken := known{UID: "u", Generation: 2, Spec: json.RawMessage(`{"filter": "port ("}`)}
	c.offer(broken)
	k, _, err := a.next()
	if err != nil || k.Generation != 1 {
		t.Fatalf("version %d, %v; want 1", k.Generation, err)
	}
	if s := c.state(); s.Problem == "" || s.Generation != 2 {
		t.Errorf("%+v", s)
	}
	c.reject(k, errors.New("it can no longer start"))
	if k, _, err := a.next(); err != nil || k.UID != "" {
		t.Errorf("%+v, %v; want that of the flags", k, err)
	}
}
