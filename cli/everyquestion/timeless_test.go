package everyquestion_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/cli/clitest"
	"github.com/pcapsule/pcapsule/cli/exit"
)

// TestPacketsWithoutAValidTimeWereRecorded makes a bundle of packets whose times do not fit: they were
// recorded all the same.
func TestPacketsWithoutAValidTimeWereRecorded(t *testing.T) {
	dir := t.TempDir()
	capture, bundle := filepath.Join(dir, "a.pcapng"), filepath.Join(dir, "a.pcapsule")
	le := binary.LittleEndian
	block := func(kind uint32, body []byte) []byte {
		size := uint32(len(body) + 12)
		return le.AppendUint32(append(le.AppendUint32(le.AppendUint32(nil, kind), size), body...), size)
	}
	file := block(0x0A0D0D0A, []byte("\x4D\x3C\x2B\x1A\x01\x00\x00\x00\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"))
	file = append(file, block(1, []byte{101, 0, 0, 0, 0xFF, 0xFF, 0, 0, 9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0})...) // raw IP, ticks of 1 ns
	packet := []byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, 0x30, 0x39, 0x30, 0x39, 0, 8, 0, 0}
	for range 3 {
		body := []byte{0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 28, 0, 0, 0, 28, 0, 0, 0}
		file = append(file, block(6, append(body, packet...))...)
	}
	if err := os.WriteFile(capture, file, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"bundle", capture, "-o", bundle}, {"query", bundle, "true"}, {"report", bundle, "--json"}} {
		code, out, errOut := clitest.Run(args...)
		if text := out + errOut; code != exit.Done || strings.Contains(text, "No packets were recorded") || strings.Contains(text, "Nothing was recorded") {
			t.Errorf("%s: exit %d\n%.2000s", args[0], code, text)
		}
	}
}
