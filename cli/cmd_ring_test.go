package cli_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pcapsule/pcapsule/cli/scripttest"
)

// TestRingScript runs testdata/ring. Its scripts can also use
//
//	ring FOLDER PACKETS [SERIES]   writes a ring with this number of packets, 1 ms apart, 100 per segment
func TestRingScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   "testdata/ring",
		Setup: func(e *testscript.Env) error { return os.Mkdir(filepath.Join(e.WorkDir, "out"), 0o755) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": scripttest.Exits, "only": only, "json": scripttest.JSON, "cut": cut, "patch": patch, "ring": scripttest.Ring,
		},
	})
}
