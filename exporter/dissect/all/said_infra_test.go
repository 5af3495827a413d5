package all

import (
	"fmt"

	"github.com/pcapsule/pcapsule/exporter/dissect/ftp"
	"github.com/pcapsule/pcapsule/exporter/dissect/ldap"
	"github.com/pcapsule/pcapsule/exporter/dissect/smtp"
	"github.com/pcapsule/pcapsule/exporter/dissect/ssh"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// ldapDid is what a row says in the terms of a client of LDAP: the operation, its object, its result
// and the number of entries.
func ldapDid(row table.CallRow) []string {
	r, ok := row.(*ldap.Row)
	if !ok {
		return nil // TLS
	}
	entries := ""
	if r.Entries.OK {
		entries = fmt.Sprintf(" %d", r.Entries.V)
	}
	return []string{r.Method.V + "\t" + r.Path.V + "\t" + r.StatusText.V + entries}
}

// smtpDid is a command of SMTP, its object and its code; of a message, sender and id.
func smtpDid(row table.CallRow) []string {
	r, ok := row.(*smtp.Row)
	if !ok {
		return nil // TLS
	}
	object := r.Path.V
	switch r.Command {
	case "MAIL":
		object = r.From.V + " " + r.MessageID.V
	case "EHLO":
		object = r.Client.V
	}
	return []string{fmt.Sprintf("%s\t%s\t%d", r.Command, object, r.StatusCode.V)}
}

// ftpDid is a command of FTP, its object and its last code.
func ftpDid(row table.CallRow) []string {
	r, ok := row.(*ftp.Row)
	if !ok {
		return nil // data, TLS
	}
	object := r.Argument.V
	if r.Command == "PORT" {
		object = ""
	}
	return []string{fmt.Sprintf("%s\t%s\t%d", r.Command, object, r.StatusCode.V)}
}

// sshDid is what both sides of SSH chose, and the host key.
func sshDid(row table.CallRow) []string {
	r, ok := row.(*ssh.Row)
	switch {
	case !ok:
		return []string{"another protocol: " + row.Base().Summary}
	case !r.HostKey.OK:
		return []string{"SSH\t \t"}
	}
	return []string{"SSH\t" + r.Kex.V + " " + r.Cipher.V + "\t" + r.HostKey.V}
}
