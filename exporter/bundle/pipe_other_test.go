//go:build !unix

package bundle

import "testing"

func makePipe(t *testing.T, _ string) {
	t.Helper()
	t.Skip("needs a system with named pipes among files")
}
