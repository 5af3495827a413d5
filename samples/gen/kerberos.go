package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	l, err := newLab("kerberos", "options attempts:1\n", host{"client", "10.1.30.5", ""}, host{"kdc", server, ""})
	if err != nil {
		return err
	}
	defer l.close()
	for name, text := range map[string]string{"krb5.conf": krb5Conf, "kdc.conf": fmt.Sprintf(kdcConf, l.tmp, server)} {
		if err := os.WriteFile(filepath.Join(l.tmp, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	env := []string{"KRB5_CONFIG=" + l.tmp + "/krb5.conf", "KRB5_KDC_PROFILE=" + l.tmp + "/kdc.conf"}
	steps := [][]string{{"kdb5_util", "create", "-s", "-P", samplePassword}}
	for _, query := range []string{"addprinc -pw " + samplePassword + " +requires_preauth ann", "addprinc -pw " + samplePassword + " bob", "addprinc -pw " + samplePassword + " -allow_tix eve",
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
	if _, err := l.start("kdc", "starting", append(append([]string{"env"}, env...), "krb5kdc", "-n")...); err != nil {
		return err
	}
	if err := l.do(ctx, "client", "wait", server+":88"); err != nil {
		return err
	}
	return l.python(ctx, out, "kerberos", server)
}
