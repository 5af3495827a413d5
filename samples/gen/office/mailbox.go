package office

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

const dovecotConf = `base_dir = %[1]s/run
state_dir = %[1]s/run
log_path = /dev/stderr
protocols = imap pop3
listen = %[2]s
ssl = yes
ssl_cert = <%[1]s/cert.pem
ssl_key = <%[1]s/key.pem
disable_plaintext_auth = no
auth_mechanisms = plain login cram-md5 apop
auth_failure_delay = 0
first_valid_uid = 8
mail_location = maildir:%[1]s/mail
default_vsz_limit = 512 M
passdb {
  driver = passwd-file
  args = scheme=PLAIN %[1]s/users
}
userdb {
  driver = static
  args = uid=mail gid=mail home=%[1]s/mail
}
`

func makeIMAP(ctx context.Context, out string) error { return makeMailbox(ctx, out, "imap", "143") }

func makePOP3(ctx context.Context, out string) error { return makeMailbox(ctx, out, "pop3", "110") }

// makeMailbox records a client of Dovecot. Its mailbox has three messages.
func makeMailbox(ctx context.Context, out, protocol, port string) error {
	const server = "10.1.24.20"
	l, err := lab.New(protocol, "", lab.At("client", "10.1.24.5"), lab.At("mailbox", server))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := lab.WriteCertificates(l.Tmp); err != nil {
		return err
	}
	conf := filepath.Join(l.Tmp, "dovecot.conf")
	err = errors.Join(os.WriteFile(conf, fmt.Appendf(nil, dovecotConf, l.Tmp, server), 0o644), os.WriteFile(l.Tmp+"/users", []byte("ann:"+lab.Password+"\n"), 0o644))
	for _, d := range []string{"run", "mail", "mail/new", "mail/cur", "mail/tmp"} {
		err = errors.Join(err, os.Mkdir(filepath.Join(l.Tmp, d), 0o755))
	}
	for i, subject := range []string{"Order 17", "=?utf-8?q?Caf=C3=A9?=", "Your invoice"} {
		text := fmt.Sprintf("Message-ID: <%d@shop.example>\r\nFrom: Shop <shop@shop.example>\r\nTo: ann@example.org\r\nSubject: %s\r\n\r\nHello.\r\n.A dot.\r\n", i+1, subject)
		err = errors.Join(err, os.WriteFile(fmt.Sprintf("%s/mail/new/%d.M%d.mx", l.Tmp, 1700000000+i, i), []byte(text), 0o644))
	}
	if err = errors.Join(err, exec.CommandContext(ctx, "chown", "-R", "mail:mail", l.Tmp+"/mail").Run()); err != nil {
		return err
	}
	if _, err := l.Start("mailbox", "", "dovecot", "-F", "-c", conf); err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "wait", server+":"+port); err != nil {
		return err
	}
	return l.Python(ctx, out, protocol, server)
}
