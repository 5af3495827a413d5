package office

import (
	"context"
	_ "embed" // for clients.py and agents.py
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

const postfixConf = `compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
maillog_file = %[1]s/log/maillog
maillog_file_prefixes = %[1]s/log
inet_interfaces = 10.1.21.20
inet_protocols = ipv4
myhostname = mx.shop.example
mydestination =
relay_domains = example.org
local_transport = discard:
relay_transport = discard:
default_transport = discard:
local_recipient_maps =
alias_maps =
alias_database =
smtpd_recipient_restrictions = reject_unauth_destination
smtpd_tls_security_level = may
smtpd_tls_cert_file = %[1]s/cert.pem
smtpd_tls_key_file = %[1]s/key.pem
smtpd_tls_session_cache_database =
smtp_tls_session_cache_database =
smtpd_peername_lookup = no
`

func makeSMTP(ctx context.Context, out string) error {
	l, err := lab.New("smtp", "", lab.At("client", "10.1.21.5"), lab.At("mx", "10.1.21.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := lab.WriteCertificates(l.Tmp); err != nil {
		return err
	}
	stop, err := startPostfix(l, ctx)
	if err != nil {
		return err
	}
	defer stop()
	return l.Python(ctx, out, "smtp", "10.1.21.20")
}

// startPostfix starts Postfix on host mx.
func startPostfix(l *lab.Lab, ctx context.Context) (stop func(), err error) {
	dir := filepath.Join(l.Tmp, "postfix")
	for _, d := range []string{dir, l.Tmp + "/queue", l.Tmp + "/data", l.Tmp + "/log"} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return nil, err
		}
	}
	master, err := os.ReadFile("/usr/share/postfix/master.cf.dist")
	if err != nil {
		return nil, err
	}
	master = []byte(strings.ReplaceAll(string(master), "  y       ", "  n       ")) // nothing runs in a changed root
	if err := errors.Join(os.WriteFile(dir+"/main.cf", fmt.Appendf(nil, postfixConf, l.Tmp), 0o644), os.WriteFile(dir+"/master.cf", master, 0o644),
		exec.CommandContext(ctx, "chown", "postfix", l.Tmp+"/data").Run()); err != nil {
		return nil, err
	}
	if _, err := l.Start("mx", "", "postfix", "-c", dir, "start-fg"); err != nil {
		return nil, err
	}
	stop = func() {
		exec.Command("ip", "netns", "exec", l.NsOf("mx"), "postfix", "-c", dir, "stop").Run()
		time.Sleep(lab.Settle)
	}
	if err := l.Do(ctx, "client", "wait", "10.1.21.20:25"); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

const vsftpdConf = `listen=YES
listen_address=10.1.22.20
background=NO
local_enable=NO
write_enable=YES
anonymous_enable=YES
anon_root=%[1]s/files
anon_upload_enable=YES
anon_other_write_enable=YES
anon_world_readable_only=NO
anon_umask=022
seccomp_sandbox=NO
isolate=NO
isolate_network=NO
port_enable=YES
connect_from_port_20=NO
secure_chroot_dir=%[1]s/empty
ssl_enable=YES
allow_anon_ssl=YES
require_ssl_reuse=NO
rsa_cert_file=%[1]s/cert.pem
rsa_private_key_file=%[1]s/key.pem
ssl_ciphers=HIGH
delay_failed_login=0
`

func makeFTP(ctx context.Context, out string) error {
	l, err := lab.New("ftp", "", lab.At("client", "10.1.22.5"), lab.At("ftp", "10.1.22.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := lab.WriteCertificates(l.Tmp); err != nil {
		return err
	}
	if err := startVsftpd(l, ctx); err != nil {
		return err
	}
	return l.Python(ctx, out, "ftp", "10.1.22.20")
}

// startVsftpd starts vsftpd on host ftp.
func startVsftpd(l *lab.Lab, ctx context.Context) error {
	conf := filepath.Join(l.Tmp, "vsftpd.conf")
	if err := errors.Join(os.MkdirAll(l.Tmp+"/files/pub", 0o755), os.Mkdir(l.Tmp+"/empty", 0o755), os.WriteFile(conf, fmt.Appendf(nil, vsftpdConf, l.Tmp), 0o644),
		exec.CommandContext(ctx, "chown", "ftp", l.Tmp+"/files/pub").Run()); err != nil {
		return err
	}
	if _, err := l.Start("ftp", "", "vsftpd", conf); err != nil {
		return err
	}
	return l.Do(ctx, "client", "wait", "10.1.22.20:21")
}

const sshdConf = `ListenAddress 10.1.23.20
Port 22
HostKey %[1]s/host
PidFile none
UsePAM no
PasswordAuthentication no
AuthorizedKeysFile %[1]s/user.pub
StrictModes no
PermitRootLogin yes
PrintMotd no
Subsystem sftp internal-sftp
`

func makeSSH(ctx context.Context, out string) error {
	l, err := lab.New("ssh", "", lab.At("client", "10.1.23.5"), lab.At("sshd", "10.1.23.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	conf := filepath.Join(l.Tmp, "sshd.conf")
	err = errors.Join(os.WriteFile(conf, fmt.Appendf(nil, sshdConf, l.Tmp), 0o644), os.MkdirAll("/run/sshd", 0o755))
	for _, name := range []string{"host", "user"} {
		err = errors.Join(err, exec.CommandContext(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "samples", "-f", filepath.Join(l.Tmp, name)).Run())
	}
	if err != nil {
		return err
	}
	if _, err := l.Start("sshd", "Server listening", "/usr/sbin/sshd", "-D", "-e", "-f", conf); err != nil {
		return err
	}
	script := filepath.Join(l.Tmp, "clients.sh")
	if err := os.WriteFile(script, fmt.Appendf(nil, sshClients, l.Tmp, filepath.Join(out, "ssh.said.tsv")), 0o755); err != nil {
		return err
	}
	return l.RecordClient(ctx, out, "ssh", "bash", script)
}

// sshClients run a command, copy a file, offer algorithms that the server lacks, and only look. What
// ssh -v says about each connection is noted.
const sshClients = `set -eu
cd %[1]s
trap 'tail -n 2 one two three' ERR
to=root@10.1.23.20
opt="-F none -i user -o StrictHostKeyChecking=no -o UserKnownHostsFile=known -o LogLevel=DEBUG1"
head -c 3000 /dev/zero > file
ssh $opt $to true 2> one
scp $opt -c aes256-gcm@openssh.com file $to:/dev/null 2> two
ssh $opt -m hmac-sha2-512 -c aes128-ctr -o KexAlgorithms=ecdh-sha2-nistp256 $to 'cat > /dev/null' < file 2> three
ssh $opt -c 3des-cbc $to true 2> four || true
exec 3<>/dev/tcp/10.1.23.20/22
head -n 1 <&3 > five
printf 'SSH-2.0-scanner\r\n' >&3
exec 3<&-
echo '# action	object	result' > %[2]s
for f in one two three; do
	printf 'SSH\t%%s %%s\t%%s\n' "$(sed -n 's/.*kex: algorithm: \([^ \r]*\).*/\1/p' $f)" "$(sed -n 's/.*client->server cipher: \([^ ]*\) .*/\1/p' $f)" \
		"$(sed -n 's/.*Server host key: ssh-ed25519 \([^ \r]*\).*/\1/p' $f)" >> %[2]s
done
printf 'SSH\t \t\nSSH\t \t\n' >> %[2]s
`
