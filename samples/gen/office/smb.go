package office

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

const smbConf = `[global]
workgroup = SHOP
netbios name = FILES
server role = standalone
server min protocol = NT1
disable netbios = yes
multicast dns register = no
smb ports = 445
interfaces = %[2]s/24
bind interfaces only = no
load printers = no
passdb backend = tdbsam:%[1]s/passdb.tdb
private dir = %[1]s/private
lock directory = %[1]s/lock
state directory = %[1]s/state
cache directory = %[1]s/cache
pid directory = %[1]s/pid
ncalrpc dir = %[1]s/ncalrpc
binddns dir = %[1]s/bind
log file = %[1]s/log
username map = %[1]s/users
[files]
path = %[1]s/files
read only = no
force user = root
`

// makeSMB records Samba: SMB 3.1.1, 2.1 and 1, an encrypted session, a failed login, a named pipe.
func makeSMB(ctx context.Context, out string) error {
	const server = "10.1.31.20"
	l, conf, err := samba(ctx, "smb", server)
	if err != nil {
		return err
	}
	defer l.Close()
	if _, err := l.Start("files", "", "smbd", "-F", "--no-process-group", "-s", conf); err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "wait", server+":445"); err != nil {
		return err
	}
	return l.Python(ctx, out, "smb", server)
}

// makeDCERPC records the remote calls of Samba over TCP: without a login, signed, encrypted, refused, a wrong password.
func makeDCERPC(ctx context.Context, out string) error {
	const server = "10.1.32.20"
	l, conf, err := samba(ctx, "dcerpc", server)
	if err != nil {
		return err
	}
	defer l.Close()
	if _, err := l.Start("files", "", "/usr/libexec/samba/samba-dcerpcd", "-F", "--no-process-group", "--libexec-rpcds", "--option=rpc start on demand helpers=no", "-s", conf); err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "wait", server+":135"); err != nil {
		return err
	}
	return l.Python(ctx, out, "dcerpc", server)
}

// samba makes a lab with the files of a server with the user games, and returns its configuration.
func samba(ctx context.Context, name, server string) (l *lab.Lab, conf string, err error) {
	l, err = lab.New(name, "", lab.At("client", strings.TrimSuffix(server, "20")+"5"), lab.At("files", server))
	if err != nil {
		return nil, "", err
	}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	for _, dir := range []string{"private", "lock", "state", "cache", "pid", "ncalrpc", "bind", "files"} {
		if err := os.Mkdir(filepath.Join(l.Tmp, dir), 0o755); err != nil {
			return nil, "", err
		}
	}
	conf = filepath.Join(l.Tmp, "smb.conf")
	for name, text := range map[string]string{"smb.conf": fmt.Sprintf(smbConf, l.Tmp, server), "users": "games = ann\n"} {
		if err := os.WriteFile(filepath.Join(l.Tmp, name), []byte(text), 0o644); err != nil {
			return nil, "", err
		}
	}
	cmd := exec.CommandContext(ctx, "smbpasswd", "-c", conf, "-a", "-s", "games")
	cmd.Stdin = strings.NewReader(lab.Password + "\n" + lab.Password + "\n")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, "", fmt.Errorf("smbpasswd: %w: %s", err, text)
	}
	return l, conf, nil
}
