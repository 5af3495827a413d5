package office

import (
	"context"
	_ "embed" // for files.py
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
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
	l, err := lab.New("files", "", lab.At("client", "10.1.31.5"), lab.At("web", "10.1.31.20"), lab.At("mx", "10.1.21.20"), lab.At("ftp", "10.1.22.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := lab.WriteCertificates(l.Tmp); err != nil {
		return err
	}
	conf, script := filepath.Join(l.Tmp, "nginx.conf"), filepath.Join(l.Tmp, "files.py")
	if err := errors.Join(os.WriteFile(conf, fmt.Appendf(nil, filesConf, l.Tmp), 0o644), os.WriteFile(script, []byte(filesClient), 0o644), os.Mkdir(l.Tmp+"/put", 0o755)); err != nil {
		return err
	}
	if _, err := l.Start("web", "", "nginx", "-p", l.Tmp, "-c", conf); err != nil {
		return err
	}
	stop, err := startPostfix(l, ctx)
	if err != nil {
		return err
	}
	defer stop()
	if err := errors.Join(startVsftpd(l, ctx), l.Do(ctx, "client", "wait", "10.1.31.20:80")); err != nil {
		return err
	}
	return l.RecordClient(ctx, out, "files", "python3", script, "10.1.31.20", "10.1.22.20", "10.1.21.20", l.Tmp, filepath.Join(out, "files.said.tsv"))
}
