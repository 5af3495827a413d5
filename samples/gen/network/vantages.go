package network

import (
	"context"
	"path/filepath"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

// makeVantages records one conversation at both ends, as two interfaces of one file.
func makeVantages(ctx context.Context, out string) error {
	l, err := lab.New("vant", "", lab.At("client", "10.1.9.5"), lab.At("app", "10.1.9.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.Serve("app", "http2-server", "10.1.9.20:8080"); err != nil {
		return err
	}
	r, err := l.Record(filepath.Join(out, "vantages.pcapng"), "veth1", "veth2")
	if err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "http2-client", "10.1.9.20:8080"); err != nil {
		return err
	}
	return r.Stop()
}
