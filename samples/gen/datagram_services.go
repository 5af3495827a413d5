package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"time"
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
	l, err := newLab("stun", "", host{"client", "10.1.42.5", ""}, host{"turn", server, ""}, host{"peer", "10.1.42.30", ""})
	if err != nil {
		return err
	}
	defer l.close()
	if _, err := l.start("turn", "", "turnserver", "-n", "--listening-ip", server, "--relay-ip", server, "--lt-cred-mech", "--user", "ann:sample", "--realm", "shop.example",
		"--no-tls", "--no-dtls", "--no-cli", "--no-multicast-peers", "--fingerprint", "--log-file", "stdout", "--pidfile", filepath.Join(l.tmp, "pid"), "--userdb", filepath.Join(l.tmp, "users")); err != nil {
		return err
	}
	if _, err := l.start("peer", "", "python3", "-c", echoServer); err != nil {
		return err
	}
	time.Sleep(5 * settle)
	return l.network(ctx, out, "stun", server)
}

// bootFiles makes the files that the TFTP servers have.
func bootFiles(l *lab) (string, error) {
	folder := filepath.Join(l.tmp, "boot")
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
	l, err := newLab("tftp", "", host{"client", "10.1.43.5", ""}, host{"boot", server, ""})
	if err != nil {
		return err
	}
	defer l.close()
	folder, err := bootFiles(l)
	if err != nil {
		return err
	}
	if _, err := l.start("boot", "", "dnsmasq", "--no-daemon", "--port=0", "--user=root", "--conf-file=/dev/null", "--enable-tftp", "--tftp-single-port", "--tftp-root="+folder); err != nil {
		return err
	}
	time.Sleep(2 * settle)
	return l.network(ctx, out, "tftp", server)
}

// makeTFTPPorts records tftpd-hpa, which answers each request from a port of its own.
func makeTFTPPorts(ctx context.Context, out string) error {
	const server = "10.1.44.20"
	l, err := newLab("tftpp", "", host{"client", "10.1.44.5", ""}, host{"boot", server, ""})
	if err != nil {
		return err
	}
	defer l.close()
	folder, err := bootFiles(l)
	if err != nil {
		return err
	}
	if _, err := l.start("boot", "", "in.tftpd", "--foreground", "--create", "--permissive", "--user", "root", "--address", server+":69", "--secure", folder); err != nil {
		return err
	}
	time.Sleep(2 * settle)
	return l.networkAs(ctx, out, "tftp-ports", "tftp", server, filepath.Join(folder, "kernel.bin"))
}
