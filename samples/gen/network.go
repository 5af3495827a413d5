package main

import (
	"context"
	_ "embed" // network.py
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

//go:embed network.py
var networkClients string

// network records the client of a protocol in network.py.
func (l *lab) network(ctx context.Context, out, protocol, server string, args ...string) error {
	script := filepath.Join(l.tmp, "network.py")
	if err := os.WriteFile(script, []byte(networkClients), 0o644); err != nil {
		return err
	}
	return l.recordClient(ctx, out, protocol, append([]string{"python3", script, protocol, server, filepath.Join(out, protocol+".said.tsv")}, args...)...)
}

const minidlnaConf = `network_interface=eth0
port=8200
media_dir=%[1]s
db_dir=%[1]s
log_dir=%[1]s
friendly_name=shop
uuid=5ca1ab1e-0000-4000-8000-000000000001
notify_interval=6
inotify=no
`

// makeSSDP records minidlna, which announces itself, with a client that searches.
func makeSSDP(ctx context.Context, out string) error {
	const server = "10.1.38.20"
	l, err := newLab("ssdp", "", host{"client", "10.1.38.5", ""}, host{"media", server, ""})
	if err != nil {
		return err
	}
	defer l.close()
	conf := filepath.Join(l.tmp, "minidlna.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, minidlnaConf, l.tmp), 0o644); err != nil {
		return err
	}
	if err := ip("-n", l.nsOf("media"), "addr", "add", server+"/24", "dev", "eth0"); err != nil { // it answers its own network only
		return err
	}
	if _, err := l.start("media", "", "minidlnad", "-S", "-f", conf, "-P", filepath.Join(l.tmp, "pid")); err != nil {
		return err
	}
	time.Sleep(5 * settle)
	return l.network(ctx, out, "ssdp", server)
}

const xrdpConf = `[Globals]
ini_version=1
port=3389
security_layer=negotiate
crypt_level=high
certificate=%[1]s/cert.pem
key_file=%[1]s/key.pem
ssl_protocols=TLSv1.2
autorun=
[Logging]
LogFile=%[1]s/xrdp.log
LogLevel=INFO
[Channels]
[none]
name=none
lib=libvnc.so
`

// makeRDP records FreeRDP and xrdp with RDP's own security and with TLS.
func makeRDP(ctx context.Context, out string) error {
	const server = "10.1.39.20"
	l, err := newLab("rdp", "", host{"client", "10.1.39.5", ""}, host{"desk", server, ""})
	if err != nil {
		return err
	}
	defer l.close()
	conf := filepath.Join(l.tmp, "xrdp.ini")
	if err := os.WriteFile(conf, fmt.Appendf(nil, xrdpConf, l.tmp), 0o644); err != nil {
		return err
	}
	if text, err := exec.CommandContext(ctx, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/CN=desk.shop.example",
		"-keyout", filepath.Join(l.tmp, "key.pem"), "-out", filepath.Join(l.tmp, "cert.pem")).CombinedOutput(); err != nil {
		return fmt.Errorf("openssl: %w: %s", err, text)
	}
	if _, err := l.start("desk", "", "xrdp", "--nodaemon", "--config", conf); err != nil {
		return err
	}
	time.Sleep(5 * settle)
	return l.network(ctx, out, "rdp", server)
}
