package store

import (
	"context"
	_ "embed" // tds.py
	"os"
	"path/filepath"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

//go:embed tds.py
var tdsScript string

// makeTDS records python-tds and a server that answers by a script.
func makeTDS(ctx context.Context, out string) error {
	python, err := lab.PythonWith(ctx, "python-tds==1.17.1")
	if err != nil {
		return err
	}
	const server = "10.1.33.20"
	l, err := lab.New("tds", "", lab.At("client", "10.1.33.5"), lab.At("db", server))
	if err != nil {
		return err
	}
	defer l.Close()
	script := filepath.Join(l.Tmp, "tds.py")
	if err := os.WriteFile(script, []byte(tdsScript), 0o644); err != nil {
		return err
	}
	if _, err := l.Start("db", "", python, script, "server", server); err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "wait", server+":1433"); err != nil {
		return err
	}
	return l.RecordClient(ctx, out, "tds", python, script, "client", server, lab.Password, filepath.Join(out, "tds.said.tsv"))
}
