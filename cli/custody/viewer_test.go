package custody

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/handover"
)

// TestViewerIsBesideTheProgram finds the page where make viewer and releases put it.
func TestViewerIsBesideTheProgram(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if found := viewer(); found != "" {
		t.Errorf("found %s, which nobody made", found)
	}
	beside := filepath.Join(filepath.Dir(program), handover.ViewerName)
	t.Cleanup(func() { os.Remove(beside) })
	if err := os.WriteFile(beside, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if found := viewer(); filepath.Base(found) != handover.ViewerName {
		t.Errorf("found %q, want %s", found, beside)
	}
}
