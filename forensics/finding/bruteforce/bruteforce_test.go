package bruteforce

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
)

// TestLoginsOfSamples counts the logins of real clients at real servers, and those that failed.
func TestLoginsOfSamples(t *testing.T) {
	ctx := context.Background()
	for i, want := range []string{"ldap 3 1", "kerberos 4 2", "smb 7 1", "ftp 2 0", "telnet 6 4", "imap 5 1", "pop3 5 1", "smtp 0 0", "radius 7 3", "socks 2 1", "", "ssh 3 1", "postgresql 3 1", "mysql 6 1", "tds 2 1", "", "", "cassandra 11 1", "clickhouse 10 1", "mqtt 5 1", "amqp 2 1", "sip 1 0"} {
		if want == "" {
			continue
		}
		name, _, _ := strings.Cut(want, " ")
		dir := filepath.Join(t.TempDir(), "t.pcapsule")
		if _, err := exporter.Run(ctx, []string{filepath.Join("..", "..", "..", "samples", name+".pcapng")}, dir, exporter.Options{Release: "test", Repanic: true}); err != nil {
			t.Fatal(err)
		}
		c, err := forensics.Open(ctx, []string{dir}, forensics.Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		p := logins[i]
		r, err := ask.One[struct {
			N      int64 `json:"n"`
			Failed int64 `json:"failed"`
		}](ctx, c, "SELECT count(*) AS n, count(*) FILTER ("+p.failed+") AS failed FROM calls WHERE protocol IN ("+p.protocols+") AND "+p.is)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(name, " ", r.N, " ", r.Failed); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		c.Close()
	}
}
