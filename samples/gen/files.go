package main

import (
	"context"
	_ "embed" // for files.py
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

//go:embed files.py
var filesClient string

const filesConf = `daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr;
user root;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	types { text/csv csv; image/png png; image/jpeg jpg; application/json json; }
	default_type application/octet-stream;
	gzip on;
	gzip_types text/csv;
	root %[1]s/site;
	server {
		listen 10.1.31.20:80;
		location /api/ { default_type application/json; }
		location = /named { alias %[1]s/work/a.zip; default_type application/zip; add_header Content-Disposition 'attachment; filename="report 1.zip"'; }
		location /put/ { dav_methods PUT; create_full_put_path on; root %[1]s/put; }
		location /upload { return 200 "{}"; default_type application/json; }
	}
	server { listen 10.1.31.20:8080 http2; }
}
`

// makeFiles records curl and smtplib that transfer files over HTTP/1, HTTP/2, FTP and SMTP.
func makeFiles(ctx context.Context, out string) error {
	l, err := newLab("files", "", host{"client", "10.1.31.5", ""}, host{"web", "10.1.31.20", ""}, host{"mx", "10.1.21.20", ""}, host{"ftp", "10.1.22.20", ""})
	if err != nil {
		return err
	}
	defer l.close()
	if err := writeCertificates(l.tmp); err != nil {
		return err
	}
	conf, script := filepath.Join(l.tmp, "nginx.conf"), filepath.Join(l.tmp, "files.py")
	if err := errors.Join(os.WriteFile(conf, fmt.Appendf(nil, filesConf, l.tmp), 0o644), os.WriteFile(script, []byte(filesClient), 0o644), os.Mkdir(l.tmp+"/put", 0o755)); err != nil {
		return err
	}
	if _, err := l.start("web", "", "nginx", "-p", l.tmp, "-c", conf); err != nil {
		return err
	}
	stop, err := l.postfix(ctx)
	if err != nil {
		return err
	}
	defer stop()
	if err := errors.Join(l.vsftpd(ctx), l.do(ctx, "client", "wait", "10.1.31.20:80")); err != nil {
		return err
	}
	return l.recordClient(ctx, out, "files", "python3", script, "10.1.31.20", "10.1.22.20", "10.1.21.20", l.tmp, filepath.Join(out, "files.said.tsv"))
}
