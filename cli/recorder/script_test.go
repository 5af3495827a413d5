package recorder

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/pcapsule/pcapsule/cli/scripttest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"pcapsule-recorder": func() { os.Exit(Main(os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// TestScript runs testdata/script; package scripttest describes the commands.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			for _, name := range []string{"KUBERNETES_SERVICE_HOST", "KUBECONFIG"} {
				e.Setenv(name, "")
			}
			return os.Mkdir(filepath.Join(e.WorkDir, "out"), 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": scripttest.Exits, "json": scripttest.JSON, "ring": scripttest.Ring,
		},
	})
}
