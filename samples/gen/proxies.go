package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const danteConf = `logoutput: stderr
internal: eth0 port = 1080
external: eth0
clientmethod: none
socksmethod: none
client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks block { from: 0.0.0.0/0 to: 10.1.28.66/32 }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
`

// danteLoginConf accepts only users of the system: root has the password of the samples in the
// namespace's /etc/shadow.
const danteLoginConf = `logoutput: stderr
internal: eth0 port = 1081
external: eth0
clientmethod: none
socksmethod: username
user.privileged: root
client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
`

// makeSOCKS records dante with curl: both versions, with names and addresses, and logins.
func makeSOCKS(ctx context.Context, out string) error {
	const proxy = "10.1.28.20"
	l, err := newLab("socks", "nameserver 127.0.0.1\n", host{"client", "10.1.28.5", ""}, host{"proxy", proxy, ""}, host{"shop", "10.1.28.30", ""})
	if err != nil {
		return err
	}
	defer l.close()
	etc, www := filepath.Join("/etc/netns", l.nsOf("proxy")), filepath.Join(l.tmp, "www")
	if err := os.Mkdir(www, 0o755); err != nil {
		return err
	}
	shadow, err := exec.CommandContext(ctx, "openssl", "passwd", "-6", samplePassword).Output()
	if err != nil {
		return fmt.Errorf("hashing the password: %w", err)
	}
	for file, text := range map[string]string{etc + "/hosts": "10.1.28.30 shop.example\n", etc + "/shadow": "root:" + strings.TrimSpace(string(shadow)) + ":19000:0:99999:7:::\n",
		www + "/index.html": "ok\n", l.tmp + "/open.conf": danteConf, l.tmp + "/login.conf": danteLoginConf} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
	}
	for _, conf := range []string{"open.conf", "login.conf"} {
		if _, err := l.start("proxy", "running", "danted", "-f", filepath.Join(l.tmp, conf), "-p", filepath.Join(l.tmp, conf+".pid")); err != nil {
			return err
		}
	}
	if _, err := l.start("shop", "", "python3", "-m", "http.server", "-d", www, "80"); err != nil {
		return err
	}
	if err := l.do(ctx, "client", "wait", "10.1.28.30:80"); err != nil {
		return err
	}
	return l.python(ctx, out, "socks", proxy)
}

const haproxyConf = `global
  stats socket %[1]s/haproxy.sock
defaults
  mode tcp
  timeout connect 5s
  timeout client 5s
  timeout server 5s
listen one
  bind 10.1.29.20:8081
  server shop 10.1.29.30:8001 send-proxy
listen two
  bind 10.1.29.20:8082
  server shop 10.1.29.30:8001 send-proxy-v2
listen secure
  bind 10.1.29.20:8443 ssl crt %[1]s/both.pem ca-file %[1]s/ca.pem verify optional
  unique-id-format %%[uuid()]
  server shop 10.1.29.30:8001 send-proxy-v2 proxy-v2-options ssl,cert-cn,ssl-cipher,authority,crc32c,unique-id
listen checked
  bind 10.1.29.20:8084
  server shop 10.1.29.30:8001 send-proxy-v2 check check-send-proxy inter 2s
`

const proxiedConf = `daemon off;
worker_processes 1;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events {}
http {
  log_format said "PROXY\t$proxy_protocol_addr:$proxy_protocol_port\t$proxy_protocol_server_addr:$proxy_protocol_server_port";
  access_log %[1]s/access.log said;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  server {
    listen 10.1.29.30:8001 proxy_protocol;
    location / { return 200 "$proxy_protocol_addr\n"; }
  }
}
`

// makeProxy records HAProxy before nginx with both versions of the PROXY protocol. What nginx logged is
// what was said.
func makeProxy(ctx context.Context, out string) error {
	const balancer = "10.1.29.20"
	l, err := newLab("proxy", "", host{"client", "10.1.29.5", ""}, host{"lb", balancer, ""}, host{"shop", "10.1.29.30", ""})
	if err != nil {
		return err
	}
	defer l.close()
	if err := writeCertificates(l.tmp); err != nil {
		return err
	}
	var pem []byte
	for _, name := range []string{"cert.pem", "key.pem"} {
		b, err := os.ReadFile(filepath.Join(l.tmp, name))
		if err != nil {
			return err
		}
		pem = append(pem, b...)
	}
	for name, text := range map[string][]byte{"both.pem": pem, "haproxy.cfg": fmt.Appendf(nil, haproxyConf, l.tmp), "nginx.conf": fmt.Appendf(nil, proxiedConf, l.tmp)} {
		if err := os.WriteFile(filepath.Join(l.tmp, name), text, 0o600); err != nil {
			return err
		}
	}
	if _, err := l.start("shop", "", "nginx", "-p", l.tmp, "-c", filepath.Join(l.tmp, "nginx.conf")); err != nil {
		return err
	}
	if err := l.do(ctx, "lb", "wait", "10.1.29.30:8001"); err != nil {
		return err
	}
	if _, err := l.start("lb", "", "haproxy", "-db", "-f", filepath.Join(l.tmp, "haproxy.cfg")); err != nil {
		return err
	}
	if err := l.do(ctx, "client", "wait", balancer+":8443"); err != nil {
		return err
	}
	return l.python(ctx, out, "proxy", balancer)
}
