package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pcapsule/pcapsule/internal/cli/scripttest"
)

// TestRingScript runs testdata/ring, where a script can also say
//
//	ring FOLDER PACKETS [SERIES]   records so many packets, one a millisecond, 100 a segment
func TestRingScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   "testdata/ring",
		Setup: func(e *testscript.Env) error { return os.Mkdir(filepath.Join(e.WorkDir, "out"), 0o755) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": scripttest.Exits, "only": only, "json": scripttest.JSON, "cut": cut, "patch": patch, "ring": scripttest.Ring,
		},
	})
}
