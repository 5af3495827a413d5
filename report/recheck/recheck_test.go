package recheck

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/worker/workertest"
	"github.com/pcapsule/pcapsule/report/value"
)

// TestMain lets the tests open cases.
func TestMain(m *testing.M) {
	workertest.Main()
	os.Exit(m.Run())
}

// opened makes a bundle of a sample and opens it.
func opened(t *testing.T, o exporter.Options, masked bool, sample string) (*forensics.Case, []string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "a.pcapsule")
	o.Release, o.Repanic = "test", true
	if _, err := exporter.Run(t.Context(), []string{filepath.Join("..", "..", "samples", sample)}, out, o); err != nil {
		t.Fatal(err)
	}
	c, err := forensics.Open(t.Context(), []string{out}, forensics.Options{Threads: 2, MaskSecrets: masked})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	rows, err := c.Query(t.Context(), forensics.Query{SQL: "SELECT lower(hex(call_id)) FROM calls_raw ORDER BY call_no"})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, r := range rows.Rows {
		ids = append(ids, fmt.Sprint(r[0]))
	}
	return c, ids
}

func needsTool(t *testing.T) {
	t.Helper()
	if Installed() != nil {
		t.Skip("needs tshark")
	}
}

// states counts the facts of a recheck by state.
func states(r *value.Recheck) map[string]int {
	out := map[string]int{}
	for _, c := range r.Calls {
		if c.Why != "" {
			out["why: "+c.Why]++
		}
		for _, f := range c.Facts {
			out[f.State]++
		}
	}
	return out
}

// TestSamplesAreConfirmed repeats every fact of calls in a sample with most protocols.
func TestSamplesAreConfirmed(t *testing.T) {
	needsTool(t)
	c, ids := opened(t, exporter.Options{}, false, "shop.pcapng")
	r, err := Observe(t.Context(), c, ids, false)
	if err != nil {
		t.Fatal(err)
	}
	if n := states(r); n[value.Confirmed] < 400 || n[value.Differs] > 0 || len(r.Calls) != len(ids) {
		t.Errorf("%d calls of %d: %v", len(r.Calls), len(ids), n)
	}
	some := ids[:20] // a part states the same, again
	again, err := Observe(t.Context(), c, some, false)
	if err != nil || fmt.Sprint(again.Calls) != fmt.Sprint(r.Calls[:len(some)]) {
		t.Errorf("a second recheck states something else: %v", err)
	}
}

// TestKeysAreHandedOver decrypts with the keys in a bundle, but not for a masked report.
func TestKeysAreHandedOver(t *testing.T) {
	needsTool(t)
	o := exporter.Options{Keys: []string{filepath.Join("..", "..", "samples", "tls.keylog")}, EmbedKeys: true}
	for _, masked := range []bool{false, true} {
		c, ids := opened(t, o, masked, "tls.pcapng")
		r, err := Observe(t.Context(), c, ids, masked)
		if err != nil {
			t.Fatal(err)
		}
		n := states(r)
		t.Log(masked, n)
		kept := 0
		for why, calls := range n {
			if strings.Contains(why, "for a masked report tshark gets no keys") {
				kept += calls
			}
		}
		if n[value.Differs] > 0 || n[value.Confirmed] == 0 || masked != (kept > 0) {
			t.Errorf("masked %v: %v", masked, n)
		}
	}
}

// TestADifferenceIsShown compares with a tool that states another method.
func TestADifferenceIsShown(t *testing.T) {
	c, ids := opened(t, exporter.Options{}, false, "http1.pcapng")
	var frames []string
	for i := range 400 {
		frames = append(frames, fmt.Sprintf(`{"_source":{"layers":{"frame.comment":["%s"],"http.request.method":["BREW"]}}}`, placeOf(c, i)))
	}
	fake(t, `cat >/dev/null; cat "$0.out"`, "["+strings.Join(frames, ",")+"]")
	for _, masked := range []bool{false, true} {
		r, err := Observe(t.Context(), c, ids, masked)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(r.Calls, func(c value.Rechecked) bool { return len(c.Facts) > 0 })
		if i < 0 {
			t.Fatal("no facts", states(r))
		}
		if f := r.Calls[i].Facts[0]; f.Name != "method" || f.State != value.Differs || (f.Other == "BREW") == masked {
			t.Errorf("masked %v: %+v", masked, f)
		}
		if f := r.Calls[i].Facts[1]; f.State != value.Unstated {
			t.Errorf("a fact that the tool does not state: %+v", f)
		}
	}
}

func placeOf(c *forensics.Case, index int) string {
	return place(c.Bundles()[0].Manifest.Inputs[0].SHA256.String(), int64(index))
}

// fake puts a program into the path instead of tshark.
func fake(t *testing.T, script, output string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, Tool)
	text := "#!/bin/sh\nPATH=/bin:/usr/bin\nif [ \"$1\" = --version ]; then echo 'TShark (Wireshark) 9.9.9 (Git).'; exit; fi\n" + script + "\n"
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o755), os.WriteFile(path+".out", []byte(output), 0o644)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
}

// TestAHostileToolIsNoError runs programs that fail in every way: each call gets the reason.
func TestAHostileToolIsNoError(t *testing.T) {
	c, ids := opened(t, exporter.Options{}, false, "dns.pcap")
	ids = ids[:2]
	for name, tt := range map[string]struct {
		script, want string
	}{
		"it fails":           {`echo 'tshark: no such field' >&2; echo 'at 12:00' >&2; exit 3`, "tshark failed (exit status 3): no such field"},
		"it crashes":         {`cat >/dev/null; kill -SEGV $$`, "tshark failed"},
		"it prints nothing":  {`cat >/dev/null`, "the output of tshark cannot be read to its end"},
		"it prints no JSON":  {`echo hello; exec cat >/dev/null`, "the output of tshark cannot be read"},
		"its output is cut":  {`cat >/dev/null; printf '[{"_source":{"layers":{}}}'`, "the output of tshark cannot be read"},
		"it prints too much": {`head -c 300000 /dev/zero | tr '\\0' '['; exec cat >/dev/null`, "the output of tshark cannot be read"},
		"it hangs":           {`exec sleep 100`, "tshark did not finish in time"},
		"it does not read":   {`exec sleep 100 <&-`, "tshark did not finish in time"},
	} {
		t.Run(name, func(t *testing.T) {
			fake(t, tt.script, "")
			limit := runTime
			if strings.Contains(tt.script, "sleep") {
				limit = 300 * time.Millisecond
			}
			r, err := observe(t.Context(), c, ids, false, limit)
			if err != nil {
				t.Fatal(err)
			}
			for _, call := range r.Calls {
				if !strings.Contains(call.Why, tt.want) {
					t.Errorf("%q, want %q", call.Why, tt.want)
				}
			}
		})
	}
	t.Run("it is missing", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		if _, err := Observe(t.Context(), c, ids, false); !errors.Is(err, ErrNoTool) {
			t.Error(err)
		}
	})
	t.Run("the report is cancelled", func(t *testing.T) {
		fake(t, `exec sleep 100`, "")
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if _, err := Observe(ctx, c, ids, false); err == nil {
			t.Error("no error")
		}
	})
}

func TestEnds(t *testing.T) {
	for _, tt := range []struct {
		packets string
		n       int
		first   int64
		last    int64
	}{
		{"12-15,20-20", 5, 12, 20},
		{"7", 1, 7, 7},
		{"", 0, 0, 0},
		{"5-2,x,1-", 0, 0, 0},
		{"0-999", 2 * maxEnd, 0, 999},
		{"0-9,100-8999999999999,9000000000000-9000000000009", 2 * maxEnd, 0, 9000000000009},
	} {
		got := ends(tt.packets)
		if len(got) != tt.n || tt.n > 0 && (got[0] != tt.first || got[len(got)-1] != tt.last) || !slices.IsSorted(got) {
			t.Errorf("%q: %d numbers %v", tt.packets, len(got), got)
		}
	}
}

func TestSameValues(t *testing.T) {
	for _, tt := range []struct {
		same        func(string, string) bool
		ours, other string
		want        bool
	}{
		{sameHost, "shop.example", "SHOP.example.:8080", true},
		{sameHost, "::1", "[::1]:80", true},
		{sameHost, "", "<Root>", true},
		{sameHost, "shop.example", "shop.example.org", false},
		{sameNumber, "772", "0x0304", true},
		{sameNumber, "", "0", false},
		{containsText, "SELECT 1\n FROM t", `BEGIN; SELECT 1\n FROM t`, true},
		{containsText, "SELECT 2", "SELECT 1", false},
	} {
		if tt.same(tt.ours, tt.other) != tt.want {
			t.Errorf("%q and %q: want %v", tt.ours, tt.other, tt.want)
		}
	}
}
