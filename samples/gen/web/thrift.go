package web

import (
	"context"
	_ "embed" // thrift.py
	"fmt"
	"os"
	"path/filepath"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

//go:embed thrift.py
var thriftScript string

// makeThrift records thriftpy2 in both protocols, framed and not.
func makeThrift(ctx context.Context, out string) error {
	python, err := lab.PythonWith(ctx, "thriftpy2==0.7.1")
	if err != nil {
		return err
	}
	const server = "10.1.30.20"
	l, err := lab.New("thrift", "", lab.At("client", "10.1.30.5"), lab.At("shop", server))
	if err != nil {
		return err
	}
	defer l.Close()
	script := filepath.Join(l.Tmp, "thrift.py")
	if err := os.WriteFile(script, []byte(thriftScript), 0o644); err != nil {
		return err
	}
	for i, kind := range []string{"binary", "framed", "compact", "framed-compact"} {
		if _, err := l.Start("shop", "", python, script, "server", server, kind); err != nil {
			return err
		}
		if err := l.Do(ctx, "client", "wait", fmt.Sprintf("%s:%d", server, 9090+i)); err != nil {
			return err
		}
	}
	return l.RecordClient(ctx, out, "thrift", python, script, "client", server, filepath.Join(out, "thrift.said.tsv"))
}
