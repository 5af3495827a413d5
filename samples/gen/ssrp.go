package main

import (
	"context"
	_ "embed" // ssrp.py
	"os"
	"path/filepath"
	"time"
)

//go:embed ssrp.py
var ssrpScript string

// makeSSRP records python-tds and a browser that answers by a script.
func makeSSRP(ctx context.Context, out string) error {
	python, err := pythonWith(ctx, "python-tds==1.17.1")
	if err != nil {
		return err
	}
	const server = "10.1.34.20"
	l, err := newLab("ssrp", "", host{"client", "10.1.34.5", ""}, host{"db", server, ""})
	if err != nil {
		return err
	}
	defer l.close()
	script := filepath.Join(l.tmp, "ssrp.py")
	if err := os.WriteFile(script, []byte(ssrpScript), 0o644); err != nil {
		return err
	}
	if _, err := l.start("db", "", python, script, "server", server); err != nil {
		return err
	}
	time.Sleep(5 * settle)
	return l.recordClient(ctx, out, "ssrp", python, script, "client", server, filepath.Join(out, "ssrp.said.tsv"))
}
