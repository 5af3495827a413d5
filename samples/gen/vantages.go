package main

import (
	"context"
	"path/filepath"
)

// makeVantages records one conversation at both ends, as two interfaces of one file.
func makeVantages(ctx context.Context, out string) error {
	l, err := newLab("vant", "", host{"client", "10.1.9.5", ""}, host{"app", "10.1.9.20", ""})
	if err != nil {
		return err
	}
	defer l.close()
	if err := l.serve("app", "http2-server", "10.1.9.20:8080"); err != nil {
		return err
	}
	r, err := l.record(filepath.Join(out, "vantages.pcapng"), "veth1", "veth2")
	if err != nil {
		return err
	}
	if err := l.do(ctx, "client", "http2-client", "10.1.9.20:8080"); err != nil {
		return err
	}
	return r.stop()
}
