//go:build amd64 || arm64

package keys

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

type noLinks struct{}

func (noLinks) Close() error { return nil }

// TestTheReasonOfAHandshakeIsTrue gives a process and the times of a handshake, and wants the
// reason that follows from them.
func TestTheReasonOfAHandshakeIsTrue(t *testing.T) {
	const hello, ended = int64(1000e9), int64(1010e9)
	attached := func(at int64) *target {
		return &target{library: OpenSSL, links: io.Closer(noLinks{}), reason: NoHandshake, since: at}
	}
	without := func(r Reason) *target { return &target{reason: r, detail: "x"} }
	of := func(list ...*target) process { return process{targets: list} }
	object := func(b build) process {
		x := attached(1)
		x.build = &b
		return process{targets: []*target{x}, from: x}
	}
	over := time.Now()
	for _, tt := range []struct {
		name    string
		p       process
		losses  []span
		refused bool
		silent  bool // the server did not answer
		want    Reason
	}{
		{"a file without a TLS library", of(without(NoTLS)), nil, false, false, NoTLS},
		{"a program that ended before its libraries were seen", process{targets: []*target{without(NoTLS)}, ended: over}, nil, false, false, Gone},
		{"its libraries were seen after the handshake", process{targets: []*target{without(NoTLS)}, ended: over, looked: hello + 1}, nil, false, false, NoTLS},
		{"a program that loads no libraries and ended", process{targets: []*target{{reason: NoTLS, alone: true}}, ended: over}, nil, false, false, NoTLS},
		{"a program that ended before it was examined", process{ended: over}, nil, false, false, Gone},
		{"a program whose files were not examined yet", process{}, nil, false, false, Waiting},
		{"files that could not be opened", process{closed: "permission denied"}, nil, false, false, Refused},
		{"libraries that could not be opened", process{targets: []*target{without(NoTLS)}, closed: "permission denied"}, nil, false, false, Refused},
		{"the best of several files", of(without(NoTLS), without(NoSymbol), without(BadVersion)), nil, false, false, NoSymbol},
		{"a probe that the kernel refused", of(without(NoTLS), without(Refused)), nil, false, false, Refused},
		{"more processes than the kernel follows", process{targets: []*target{attached(1)}, reason: TooMany}, nil, false, false, TooMany},
		{"a probe after the handshake", of(attached(hello + 1)), nil, false, false, Late},
		{"the first of two probes counts", of(attached(hello+1), attached(hello-1)), nil, false, false, NoHandshake},
		{"chosen after the handshake", process{targets: []*target{attached(1)}, chosen: hello + 1}, nil, false, false, Late},
		{"lost meanwhile", of(attached(1)), []span{{ended - 1, ended + 1}}, false, false, Lost},
		{"lost at the end", of(attached(1)), []span{{ended + 1, ended + 2}}, false, false, Lost},
		{"lost before and long after", of(attached(1)), []span{{1, hello - 1}, {ended + int64(time.Minute), ended + int64(time.Hour)}}, false, false, NoHandshake},
		{"a key that was not written", of(attached(1)), nil, true, false, Unwritten},
		{"a server that did not answer", of(attached(hello + 1)), nil, false, true, Unfinished},
		{"an unknown layout without packets", object(build{}), nil, false, false, NoCapture},
		{"an unknown layout that was searched", object(build{failures: 3}), nil, false, false, NoLayout},
		{"another connection's objects only", object(build{proven: true}), nil, false, false, NoHandshake},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := &Tracker{account: newAccount()}
			tr.account.losses = tt.losses
			h := Handshake{Time: hello, Ended: ended, Answered: !tt.silent, ClientRandom: [32]byte{1}}
			if tt.refused {
				tr.account.refuse(h.ClientRandom)
			}
			if got, detail := tr.judgement(&tt.p, &h); got != tt.want {
				t.Errorf("%s (%s), want %s", got, detail, tt.want)
			}
		})
	}
}

// TestALineForEachProcess lists a handshake for each chosen process, and a process that is not
// chosen once.
func TestALineForEachProcess(t *testing.T) {
	tr := &Tracker{account: newAccount(), procs: map[uint32]*process{}}
	for _, pid := range []uint32{1 << 30, 1<<30 + 1} {
		tr.procs[pid] = &process{running: running{pid: pid}, targets: []*target{{reason: NoTLS}}}
	}
	other := uint32(1<<30 + 2)
	for _, ends := range [][2]uint32{{1 << 30, 1<<30 + 1}, {1 << 30, other}, {other, 0}, {other, 0}, {0, 0}} {
		tr.explain(&Handshake{PIDs: ends, Answered: true, Time: 1, Ended: 2})
	}
	var got []Reason
	for _, m := range tr.Missing() {
		got = append(got, m.Reason)
		if m.Server != (m.PID == 1<<30+1) {
			t.Errorf("%+v", m)
		}
	}
	want := []Reason{NoTLS, NoTLS, NoTLS, NotChosen}
	if len(got) != len(want) || got[3] != NotChosen {
		t.Errorf("%v, want %v", got, want)
	}
	if n := tr.Keyless(); n[NoTLS] != 2 || n[NotChosen] != 2 || n[NoOwner] != 1 {
		t.Errorf("%v", n)
	}
	for range maxMissing + 7 {
		tr.explain(&Handshake{PIDs: [2]uint32{1 << 30}, Answered: true})
	}
	if list := tr.Missing(); len(list) != maxMissing || tr.account.limited != 7 {
		t.Errorf("%d lines, %d omitted", len(list), tr.account.limited)
	}
}

// TestOtherLibrariesAreNamed recognizes what cannot be read.
func TestOtherLibrariesAreNamed(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "libjvm.so")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(script)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := otherTLS(f, 10, script, false); got != "Java's own TLS" {
		t.Errorf("%q", got)
	}
	if got := otherTLS(f, 10, filepath.Join(dir, "libc.so.6"), true); got != "" {
		t.Errorf("%q of a file that is no program", got)
	}
	own, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	st, err := own.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if got := otherTLS(own, st.Size(), "/proc/self/exe", true); got != "" { // it contains the names of all
		t.Errorf("%q of a Go program", got)
	}
}
