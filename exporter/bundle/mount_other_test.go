//go:build !linux

package bundle

import "testing"

func smallDisk(t *testing.T, size string) string {
	t.Skip("needs Linux: to mount a small disk")
	return ""
}

func makeReadOnly(t *testing.T, dir string) { t.Skip("needs Linux: to mount a read-only disk") }
