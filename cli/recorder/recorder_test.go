package recorder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/internal/version"
	node "github.com/pcapsule/pcapsule/recorder"
	"github.com/pcapsule/pcapsule/recorder/ring"
)

func TestUsageErrorsBeforeRecording(t *testing.T) {
	ring, shared := filepath.Join(t.TempDir(), "ring"), filepath.Join(t.TempDir(), "shared.key")
	if err := os.WriteFile(shared, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name string
		args string
		code int
		want string
	}{
		{"an unknown flag", "--rings x", exit.Usage, "unknown flag: --rings"},
		{"an invalid size", "--max-size 10potatoes", exit.Usage, `--max-size "10potatoes": must be a number with B, kB, MB, GB, KiB, MiB or GiB`},
		{"a negative size", "--reserve -1", exit.Usage, `--reserve "-1": must be a number`},
		{"a reserve of the whole disk", "--reserve 100%", exit.Usage, `--reserve "100%": must be 0% to 90%`},
		{"an empty segment", "--segment-size 0", exit.Usage, `--segment-size "0": must be 64KiB to 1024TiB`},
		{"a buffer that is not a power of two", "-B 33MiB", exit.Usage, "--buffer-size 33MiB: must be a power of two"},
		{"a negative time", "--max-age -5m", exit.Usage, "must be an age such as 24h"},
		{"an unknown capture", "--capture everything", exit.Usage, `--capture "everything": must be`},
		{"interfaces without their capture", "-i eth0", exit.Usage, "needs --capture=interfaces or --capture=both"},
		{"an unknown value of --kubernetes", "--kubernetes maybe", exit.Usage, `--kubernetes "maybe": must be auto, required or off`},
		{"Kubernetes required but missing", "--kubernetes required", exit.Usage, "there is neither a kubeconfig nor a service account"},
		{"a kubeconfig that does not exist", "--kubeconfig /nowhere/config", exit.NotCapture, "/nowhere/config"},
		{"a configuration without a cluster", "--kubernetes off --config default", exit.Usage, "--config needs a Kubernetes API"},
		{"an unknown log format", "--log xml", exit.Usage, `--log "xml": must be text or json`},
		{"a filter with an error", "--kubernetes off tcp port port", exit.Syntax, "port"},
		{"a filter in the environment", "--kubernetes off", exit.Syntax, "filter"},
		{"no folder", "--ring=", exit.Usage, "--ring: must be a folder"},
		{"an invalid address", "--kubernetes off --metrics 256.0.0.1:1", exit.Other, "listening for metrics"},
		{"a key that others can read", "--kubernetes off --metrics= --key " + shared, exit.Other, "others can read it"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Setenv("KUBERNETES_SERVICE_HOST", "")
			t.Setenv("KUBECONFIG", "")
			t.Setenv("PCAPSULE_RING", ring)
			if row.name == "a filter in the environment" {
				t.Setenv("PCAPSULE_FILTER", "tcp and and")
			}
			var out, errOut bytes.Buffer
			code := Main(strings.Fields(row.args), &out, &errOut)
			stderr := errOut.String()
			if code != row.code || !strings.Contains(stderr, row.want) || !strings.Contains(stderr, "error: ") || !strings.Contains(stderr, "\nhint: ") || out.Len() > 0 {
				t.Errorf("exit %d, want %d; printed %q", code, row.code, stderr)
			}
		})
	}
}

func TestVersionAndHelp(t *testing.T) {
	var out, errOut bytes.Buffer
	if code := Main([]string{"--version"}, &out, &errOut); code != 0 || !strings.HasPrefix(out.String(), "pcapsule-recorder "+version.Release+" (commit ") {
		t.Errorf("exit %d, %q", code, out.String())
	}
	out.Reset()
	if code := Main([]string{"--help"}, &out, &errOut); code != 0 || !strings.Contains(out.String(), "Examples:") || !strings.Contains(out.String(), "Exit codes:") {
		t.Errorf("exit %d, %q", code, out.String())
	}
}

func TestEnvironment(t *testing.T) {
	for _, row := range []struct {
		name, args, env string
		want            func(*flags) string
		is              string
	}{
		{"a flag's own name", "", "PCAPSULE_MAX_SIZE=5Gi", func(f *flags) string { return f.maxSize.String() }, "5GiB"},
		{"a flag overrides it", "--max-size 7Gi", "PCAPSULE_MAX_SIZE=5Gi", func(f *flags) string { return f.maxSize.String() }, "7GiB"},
		{"the usual variable for the node's name", "", "NODE_NAME=a", func(f *flags) string { return f.node }, "a"},
		{"our own variable overrides it", "", "NODE_NAME=a PCAPSULE_NODE=b", func(f *flags) string { return f.node }, "b"},
		{"a boolean", "", "PCAPSULE_HEADERS_ONLY=true", func(f *flags) string { return fmt.Sprint(f.headersOnly) }, "true"},
		{"no metrics", "", "PCAPSULE_METRICS=", func(f *flags) string { return f.metrics }, ""},
		{"an empty kubeconfig is ignored", "", "KUBECONFIG=", func(f *flags) string { return f.kubeconfig }, ""},
		{"an invalid value is refused", "", "PCAPSULE_MAX_AGE=soon", nil, "PCAPSULE_MAX_AGE: "},
	} {
		t.Run(row.name, func(t *testing.T) {
			var f flags
			c := command(nil, nil, nil)
			c.ResetFlags()
			f.define(c.Flags())
			if err := c.Flags().Parse(strings.Fields(row.args)); err != nil {
				t.Fatal(err)
			}
			err := fromEnvironment(c.Flags(), func(name string) (string, bool) {
				for _, x := range strings.Fields(row.env) {
					if text, ok := strings.CutPrefix(x, name+"="); ok {
						return text, true
					}
				}
				return "", false
			})
			if row.want == nil {
				if err == nil || !strings.HasPrefix(err.Error(), row.is) || strings.Contains(err.Error(), "%!") {
					t.Errorf("error %v, want %q", err, row.is)
				}
				return
			}
			if got := row.want(&f); err != nil || got != row.is {
				t.Errorf("got %q, %v, want %q", got, err, row.is)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, row := range []struct {
		name string
		err  error
		code int
	}{
		{"missing rights", &node.PrivilegeError{Err: fs.ErrPermission}, exit.Other},
		{"no control groups", fmt.Errorf("looking: %w", node.ErrCgroup), exit.Other},
		{"another recorder", fmt.Errorf("opening ring: %w", ring.ErrLocked), exit.Exists},
		{"a newer ring", ring.ErrNewer, exit.Newer},
		{"a full disk", &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, exit.Disk},
		{"a read-only disk", &fs.PathError{Op: "mkdir", Path: "x", Err: syscall.EROFS}, exit.Disk},
		{"counters that do not balance", errors.Join(&node.BalanceError{}, fs.ErrPermission), exit.Verify},
		{"anything else", errors.New("surprise"), exit.Other},
	} {
		if code, _ := classifyKind(context.Background(), row.err); code != row.code {
			t.Errorf("%s: %d, want %d", row.name, code, row.code)
		}
	}
	if code, _ := classifyKind(ended, context.Canceled); code != exit.Interrupted {
		t.Errorf("interrupted: %d", code)
	}
}

func TestOptionsReachTheRecorder(t *testing.T) {
	f := flags{ring: "/r", segmentSize: 1 << 20, maxSize: 20 << 30, segmentTime: time.Second, capture: "sockets", buffer: 1 << 20,
		snap: 96, node: "n", kubernetes: "off", peers: "none", labels: " app, x/* ,-", keep: time.Minute}
	f.policy.MaxAge.All = time.Hour
	o, err := f.options("tcp port 80")
	if err != nil {
		t.Fatal(err)
	}
	r := o.Record
	if r.Ring.Dir != "/r" || r.Ring.SegmentBytes != 1<<20 || r.Ring.MaxBytes != 20<<30 || r.Ring.MaxAge != time.Hour || r.Filter != "tcp port 80" ||
		r.Snap != 96 || r.RingBuffer != 1<<20 || r.Node != "n" || strings.Join(o.Labels, " ") != "app x/*" || o.Peers != "none" {
		t.Errorf("options %+v", o)
	}
}
