package network

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

// echoServer sends every datagram back.
const echoServer = `import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 7))
while True:
    s.sendto(*s.recvfrom(2048))
`

// makeSTUN records coturn with a client that asks for its address and relays to an echo server.
func makeSTUN(ctx context.Context, out string) error {
	const server = "10.1.42.20"
	l, err := lab.New("stun", "", lab.At("client", "10.1.42.5"), lab.At("turn", server), lab.At("peer", "10.1.42.30"))
	if err != nil {
		return err
	}
	defer l.Close()
	if _, err := l.Start("turn", "", "turnserver", "-n", "--listening-ip", server, "--relay-ip", server, "--lt-cred-mech", "--user", "ann:sample", "--realm", "shop.example",
		"--no-tls", "--no-dtls", "--no-cli", "--no-multicast-peers", "--fingerprint", "--log-file", "stdout", "--pidfile", filepath.Join(l.Tmp, "pid"), "--userdb", filepath.Join(l.Tmp, "users")); err != nil {
		return err
	}
	if _, err := l.Start("peer", "", "python3", "-c", echoServer); err != nil {
		return err
	}
	time.Sleep(5 * lab.Settle)
	return recordNetwork(l, ctx, out, "stun", server)
}

// bootFiles makes the files that the TFTP servers have.
func bootFiles(l *lab.Lab) (string, error) {
	folder := filepath.Join(l.Tmp, "boot")
	if err := os.Mkdir(folder, 0o777); err != nil {
		return "", err
	}
	for name, n := range map[string]int{"menu.txt": 700, "kernel.bin": 3000} {
		if err := os.WriteFile(filepath.Join(folder, name), bytes.Repeat([]byte{'m'}, n), 0o644); err != nil {
			return "", err
		}
	}
	return folder, os.Chmod(folder, 0o777)
}

// makeTFTP records dnsmasq, which answers from the port of the request.
func makeTFTP(ctx context.Context, out string) error {
	const server = "10.1.43.20"
	l, err := lab.New("tftp", "", lab.At("client", "10.1.43.5"), lab.At("boot", server))
	if err != nil {
		return err
	}
	defer l.Close()
	folder, err := bootFiles(l)
	if err != nil {
		return err
	}
	if _, err := l.Start("boot", "", "dnsmasq", "--no-daemon", "--port=0", "--user=root", "--conf-file=/dev/null", "--enable-tftp", "--tftp-single-port", "--tftp-root="+folder); err != nil {
		return err
	}
	time.Sleep(2 * lab.Settle)
	return recordNetwork(l, ctx, out, "tftp", server)
}

// makeTFTPPorts records tftpd-hpa, which answers each request from a port of its own.
func makeTFTPPorts(ctx context.Context, out string) error {
	const server = "10.1.44.20"
	l, err := lab.New("tftpp", "", lab.At("client", "10.1.44.5"), lab.At("boot", server))
	if err != nil {
		return err
	}
	defer l.Close()
	folder, err := bootFiles(l)
	if err != nil {
		return err
	}
	if _, err := l.Start("boot", "", "in.tftpd", "--foreground", "--create", "--permissive", "--user", "root", "--address", server+":69", "--secure", folder); err != nil {
		return err
	}
	time.Sleep(2 * lab.Settle)
	return recordNetworkAs(l, ctx, out, "tftp-ports", "tftp", server, filepath.Join(folder, "kernel.bin"))
}
