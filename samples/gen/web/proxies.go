package web

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
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
	l, err := lab.New("socks", "nameserver 127.0.0.1\n", lab.At("client", "10.1.28.5"), lab.At("proxy", proxy), lab.At("shop", "10.1.28.30"))
	if err != nil {
		return err
	}
	defer l.Close()
	etc, www := filepath.Join("/etc/netns", l.NsOf("proxy")), filepath.Join(l.Tmp, "www")
	if err := os.Mkdir(www, 0o755); err != nil {
		return err
	}
	shadow, err := exec.CommandContext(ctx, "openssl", "passwd", "-6", lab.Password).Output()
	if err != nil {
		return fmt.Errorf("hashing the password: %w", err)
	}
	for file, text := range map[string]string{etc + "/hosts": "10.1.28.30 shop.example\n", etc + "/shadow": "root:" + strings.TrimSpace(string(shadow)) + ":19000:0:99999:7:::\n",
		www + "/index.html": "ok\n", l.Tmp + "/open.conf": danteConf, l.Tmp + "/login.conf": danteLoginConf} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return err
		}
	}
	for _, conf := range []string{"open.conf", "login.conf"} {
		if _, err := l.Start("proxy", "running", "danted", "-f", filepath.Join(l.Tmp, conf), "-p", filepath.Join(l.Tmp, conf+".pid")); err != nil {
			return err
		}
	}
	if _, err := l.Start("shop", "", "python3", "-m", "http.server", "-d", www, "80"); err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "wait", "10.1.28.30:80"); err != nil {
		return err
	}
	return l.Python(ctx, out, "socks", proxy)
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
	l, err := lab.New("proxy", "", lab.At("client", "10.1.29.5"), lab.At("lb", balancer), lab.At("shop", "10.1.29.30"))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := lab.WriteCertificates(l.Tmp); err != nil {
		return err
	}
	var pem []byte
	for _, name := range []string{"cert.pem", "key.pem"} {
		b, err := os.ReadFile(filepath.Join(l.Tmp, name))
		if err != nil {
			return err
		}
		pem = append(pem, b...)
	}
	for name, text := range map[string][]byte{"both.pem": pem, "haproxy.cfg": fmt.Appendf(nil, haproxyConf, l.Tmp), "nginx.conf": fmt.Appendf(nil, proxiedConf, l.Tmp)} {
		if err := os.WriteFile(filepath.Join(l.Tmp, name), text, 0o600); err != nil {
			return err
		}
	}
	if _, err := l.Start("shop", "", "nginx", "-p", l.Tmp, "-c", filepath.Join(l.Tmp, "nginx.conf")); err != nil {
		return err
	}
	if err := l.Do(ctx, "lb", "wait", "10.1.29.30:8001"); err != nil {
		return err
	}
	if _, err := l.Start("lb", "", "haproxy", "-db", "-f", filepath.Join(l.Tmp, "haproxy.cfg")); err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "wait", balancer+":8443"); err != nil {
		return err
	}
	return l.Python(ctx, out, "proxy", balancer)
}
