package web

import (
	"context"
	_ "embed" // thrift_header.py
	"os"
	"path/filepath"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

//go:embed thrift_header.py
var thriftHeaderScript string

// makeThriftHeader records Apache Thrift's library for Python with THeaderTransport.
func makeThriftHeader(ctx context.Context, out string) error {
	python, err := lab.PythonWith(ctx, "thrift==0.25.0")
	if err != nil {
		return err
	}
	const server = "10.1.30.20"
	l, err := lab.New("thrift-header", "", lab.At("client", "10.1.30.5"), lab.At("shop", server))
	if err != nil {
		return err
	}
	defer l.Close()
	script := filepath.Join(l.Tmp, "thrift_header.py")
	if err := os.WriteFile(script, []byte(thriftHeaderScript), 0o644); err != nil {
		return err
	}
	for kind, port := range map[string]string{"plain": ":9090", "zlib": ":9091"} {
		if _, err := l.Start("shop", "", python, script, "server", server, kind); err != nil {
			return err
		}
		if err := l.Do(ctx, "client", "wait", server+port); err != nil {
			return err
		}
	}
	return l.RecordClient(ctx, out, "thrift-header", python, script, "client", server, filepath.Join(out, "thrift-header.said.tsv"))
}
