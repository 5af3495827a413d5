package store

import (
	"context"
	_ "embed" // ssrp.py
	"os"
	"path/filepath"
	"time"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

//go:embed ssrp.py
var ssrpScript string

// makeSSRP records python-tds and a browser that answers by a script.
func makeSSRP(ctx context.Context, out string) error {
	python, err := lab.PythonWith(ctx, "python-tds==1.17.1")
	if err != nil {
		return err
	}
	const server = "10.1.34.20"
	l, err := lab.New("ssrp", "", lab.At("client", "10.1.34.5"), lab.At("db", server))
	if err != nil {
		return err
	}
	defer l.Close()
	script := filepath.Join(l.Tmp, "ssrp.py")
	if err := os.WriteFile(script, []byte(ssrpScript), 0o644); err != nil {
		return err
	}
	if _, err := l.Start("db", "", python, script, "server", server); err != nil {
		return err
	}
	time.Sleep(5 * lab.Settle)
	return l.RecordClient(ctx, out, "ssrp", python, script, "client", server, filepath.Join(out, "ssrp.said.tsv"))
}
