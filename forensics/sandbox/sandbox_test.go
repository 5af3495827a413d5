package sandbox_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/sandbox"
	"github.com/pcapsule/pcapsule/forensics/worker/workertest"
)

func TestMain(m *testing.M) {
	workertest.Main()
	os.Exit(m.Run())
}

// TestAConfinedProgram runs shell commands that a program must not be able to do, and one that it must.
func TestAConfinedProgram(t *testing.T) {
	if version, seccomp := forensics.Confinement(); version == 0 || !seccomp {
		t.Skip("needs Landlock and seccomp")
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("needs bash")
	}
	dir := t.TempDir()
	inside, outside := filepath.Join(dir, "inside"), filepath.Join(t.TempDir(), "secret")
	for _, name := range []string{inside, outside} {
		if err := os.WriteFile(name, []byte("content\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ name, do, want, fails string }{
		{"reads its files", "read x < " + inside + "; echo $x", "content\n", ""},
		{"reads another file", "read x < " + outside + " && echo $x", "", "Permission denied"},
		{"writes beside its files", "echo x > " + inside + ".new", "", "Permission denied"},
		{"changes its files", "echo x >> " + inside, "", "Permission denied"},
		{"connects", "echo x > /dev/tcp/127.0.0.1/1", "", "Operation not permitted"},
		{"becomes a program", "exec /usr/bin/env", "", "Permission denied"},
		{"starts a process", "(echo x); echo y", "", "fork"},
		{"writes too much", "while :; do echo 0123456789abcdef; done", "", "wrote more than 1000 bytes"},
		{"takes too long", "while :; do :; done", "", "CPU time"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			out, _, err := sandbox.Run(ctx, sandbox.Program{Path: bash, Args: []string{"--norc", "-c", tt.do}, Read: []string{dir}, Memory: 256 << 20, Seconds: 1}, 1000)
			if tt.fails == "" && (err != nil || string(out) != tt.want) || tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)) {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
	if got, err := os.ReadFile(inside); err != nil || string(got) != "content\n" {
		t.Errorf("%q %v", got, err)
	}
}
