package network

import (
	"bytes"
	"context"
	_ "embed" // network.py
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

//go:embed network.py
var networkClients string

// recordNetwork records the client of a protocol in network.py.
func recordNetwork(l *lab.Lab, ctx context.Context, out, protocol, server string, args ...string) error {
	return recordNetworkAs(l, ctx, out, protocol, protocol, server, args...)
}

// recordNetworkAs is recordNetwork for a sample with another name.
func recordNetworkAs(l *lab.Lab, ctx context.Context, out, name, protocol, server string, args ...string) error {
	script := filepath.Join(l.Tmp, "network.py")
	if err := os.WriteFile(script, []byte(networkClients), 0o644); err != nil {
		return err
	}
	return l.RecordClient(ctx, out, name, append([]string{"python3", script, protocol, server, filepath.Join(out, name+".said.tsv")}, args...)...)
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
	l, err := lab.New("ssdp", "", lab.At("client", "10.1.38.5"), lab.At("media", server))
	if err != nil {
		return err
	}
	defer l.Close()
	conf := filepath.Join(l.Tmp, "minidlna.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, minidlnaConf, l.Tmp), 0o644); err != nil {
		return err
	}
	if err := lab.IP("-n", l.NsOf("media"), "addr", "add", server+"/24", "dev", "eth0"); err != nil { // it answers its own network only
		return err
	}
	if _, err := l.Start("media", "", "minidlnad", "-S", "-f", conf, "-P", filepath.Join(l.Tmp, "pid")); err != nil {
		return err
	}
	time.Sleep(5 * lab.Settle)
	return recordNetwork(l, ctx, out, "ssdp", server)
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
	l, err := lab.New("rdp", "", lab.At("client", "10.1.39.5"), lab.At("desk", server))
	if err != nil {
		return err
	}
	defer l.Close()
	conf := filepath.Join(l.Tmp, "xrdp.ini")
	if err := os.WriteFile(conf, fmt.Appendf(nil, xrdpConf, l.Tmp), 0o644); err != nil {
		return err
	}
	if text, err := exec.CommandContext(ctx, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/CN=desk.shop.example",
		"-keyout", filepath.Join(l.Tmp, "key.pem"), "-out", filepath.Join(l.Tmp, "cert.pem")).CombinedOutput(); err != nil {
		return fmt.Errorf("openssl: %w: %s", err, text)
	}
	if _, err := l.Start("desk", "", "xrdp", "--nodaemon", "--config", conf); err != nil {
		return err
	}
	time.Sleep(5 * lab.Settle)
	return recordNetwork(l, ctx, out, "rdp", server)
}

// openvpnServers are the servers of the sample, each with its port and protection; network.py lists them too.
var openvpnServers = []struct{ port, transport, protection string }{{"1194", "udp", ""}, {"1195", "tcp", ""}, {"1196", "udp", "--tls-auth"}, {"1197", "udp", "--tls-crypt"}}

// makeOpenVPN records OpenVPN over UDP and TCP, without protection of its control channel and with it.
func makeOpenVPN(ctx context.Context, out string) error {
	const server = "10.1.40.20"
	l, err := lab.New("openvpn", "", lab.At("client", "10.1.40.5"), lab.At("vpn", server))
	if err != nil {
		return err
	}
	defer l.Close()
	file := func(name string) string { return filepath.Join(l.Tmp, name) }
	for _, argv := range [][]string{
		{"openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", "/CN=vpn.shop.example", "-keyout", file("key.pem"), "-out", file("cert.pem")},
		{"openvpn", "--genkey", "tls-auth", file("static.key")},
	} {
		if text, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", argv[0], err, text)
		}
	}
	for i, s := range openvpnServers {
		argv := []string{"openvpn", "--dev", fmt.Sprintf("tun%d", i), "--port", s.port, "--proto", s.transport + "4", "--ca", file("cert.pem"), "--cert", file("cert.pem"), "--key", file("key.pem"), "--dh", "none",
			"--tls-version-max", "1.2", "--auth", "SHA256", "--mode", "server", "--tls-server", "--ifconfig", fmt.Sprintf("10.9.%d.1", i), fmt.Sprintf("10.9.%d.2", i), "--ifconfig-pool", fmt.Sprintf("10.9.%d.10", i), fmt.Sprintf("10.9.%d.20", i), "--ping", "1", "--verb", "1"}
		if s.transport == "tcp" {
			argv[6] = "tcp4-server"
		}
		if s.protection != "" {
			argv = append(argv, s.protection, file("static.key"))
			if s.protection == "--tls-auth" {
				argv = append(argv, "0")
			}
		}
		if _, err := l.Start("vpn", "Initialization Sequence Completed", argv...); err != nil {
			return err
		}
	}
	return recordNetwork(l, ctx, out, "openvpn", server, l.Tmp)
}

// makeWireGuard records wireguard-go, with a peer that answers and one that does not.
func makeWireGuard(ctx context.Context, out string) error {
	const server = "10.1.41.20"
	l, err := lab.New("wireguard", "", lab.At("client", "10.1.41.5"), lab.At("vpn", server))
	if err != nil {
		return err
	}
	defer l.Close()
	public := map[string]string{}
	for _, side := range []string{"client", "vpn"} {
		private, err := exec.CommandContext(ctx, "wg", "genkey").Output()
		if err != nil {
			return fmt.Errorf("wg genkey: %w", err)
		}
		if err := os.WriteFile(filepath.Join(l.Tmp, side), private, 0o600); err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, "wg", "pubkey")
		cmd.Stdin = bytes.NewReader(private)
		key, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("wg pubkey: %w", err)
		}
		public[side] = strings.TrimSpace(string(key))
		if _, err := l.Start(side, "", "wireguard-go", "-f", "pcs"+side); err != nil {
			return err
		}
	}
	time.Sleep(5 * lab.Settle)
	for side, argv := range map[string][]string{"vpn": {"peer", public["client"], "allowed-ips", "10.9.41.2/32"}, "client": {"peer", public["vpn"], "allowed-ips", "10.9.41.1/32", "endpoint", server + ":51820"}} {
		addr := map[string]string{"vpn": "10.9.41.1/24", "client": "10.9.41.2/24"}[side]
		for _, step := range [][]string{
			append([]string{"netns", "exec", l.NsOf(side), "wg", "set", "pcs" + side, "listen-port", "51820", "private-key", filepath.Join(l.Tmp, side)}, argv...),
			{"-n", l.NsOf(side), "addr", "add", addr, "dev", "pcs" + side},
			{"-n", l.NsOf(side), "link", "set", "pcs" + side, "up"},
		} {
			if err := lab.IP(step...); err != nil {
				return err
			}
		}
	}
	return recordNetwork(l, ctx, out, "wireguard", server, public["vpn"])
}
