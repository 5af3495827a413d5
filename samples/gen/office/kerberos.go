package office

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

const krb5Conf = `[libdefaults]
default_realm = SHOP.EXAMPLE
allow_weak_crypto = true
`

const kdcConf = `[realms]
SHOP.EXAMPLE = {
	database_name = %[1]s/principal
	key_stash_file = %[1]s/stash
	acl_file = %[1]s/acl
	kdc_listen = %[2]s:88
	kdc_tcp_listen = %[2]s:88
	supported_enctypes = aes256-cts:normal arcfour-hmac:normal
}
`

// makeKerberos records MIT Kerberos: logins and tickets in datagrams and TCP, errors, a service with an
// old key.
func makeKerberos(ctx context.Context, out string) error {
	const server = "10.1.30.20"
	l, err := lab.New("kerberos", "options attempts:1\n", lab.At("client", "10.1.30.5"), lab.At("kdc", server))
	if err != nil {
		return err
	}
	defer l.Close()
	for name, text := range map[string]string{"krb5.conf": krb5Conf, "kdc.conf": fmt.Sprintf(kdcConf, l.Tmp, server)} {
		if err := os.WriteFile(filepath.Join(l.Tmp, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	env := []string{"KRB5_CONFIG=" + l.Tmp + "/krb5.conf", "KRB5_KDC_PROFILE=" + l.Tmp + "/kdc.conf"}
	steps := [][]string{{"kdb5_util", "create", "-s", "-P", lab.Password}}
	for _, query := range []string{"addprinc -pw " + lab.Password + " +requires_preauth ann", "addprinc -pw " + lab.Password + " bob", "addprinc -pw " + lab.Password + " -allow_tix eve",
		"addprinc -randkey cifs/files", "addprinc -e arcfour-hmac:normal -randkey http/old"} {
		steps = append(steps, []string{"kadmin.local", "-q", query})
	}
	for _, s := range steps {
		cmd := exec.CommandContext(ctx, s[0], s[1:]...)
		cmd.Env = append(os.Environ(), env...)
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", s[0], err, text)
		}
	}
	if _, err := l.Start("kdc", "starting", append(append([]string{"env"}, env...), "krb5kdc", "-n")...); err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "wait", server+":88"); err != nil {
		return err
	}
	return l.Python(ctx, out, "kerberos", server)
}
