package main

import (
	"context"
	_ "embed" // tds.py
	"os"
	"path/filepath"
)

//go:embed tds.py
var tdsScript string

// makeTDS records python-tds and a server that answers by a script.
func makeTDS(ctx context.Context, out string) error {
	python, err := pythonWith(ctx, "python-tds==1.17.1")
	if err != nil {
		return err
	}
	const server = "10.1.33.20"
	l, err := newLab("tds", "", host{"client", "10.1.33.5", ""}, host{"db", server, ""})
	if err != nil {
		return err
	}
	defer l.close()
	script := filepath.Join(l.tmp, "tds.py")
	if err := os.WriteFile(script, []byte(tdsScript), 0o644); err != nil {
		return err
	}
	if _, err := l.start("db", "", python, script, "server", server); err != nil {
		return err
	}
	if err := l.do(ctx, "client", "wait", server+":1433"); err != nil {
		return err
	}
	return l.recordClient(ctx, out, "tds", python, script, "client", server, samplePassword, filepath.Join(out, "tds.said.tsv"))
}
