package all

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/dhcp"
	"github.com/pcapsule/pcapsule/exporter/dissect/ftp"
	"github.com/pcapsule/pcapsule/exporter/dissect/imap"
	"github.com/pcapsule/pcapsule/exporter/dissect/ldap"
	"github.com/pcapsule/pcapsule/exporter/dissect/ntp"
	"github.com/pcapsule/pcapsule/exporter/dissect/pop3"
	"github.com/pcapsule/pcapsule/exporter/dissect/smtp"
	"github.com/pcapsule/pcapsule/exporter/dissect/ssh"
	"github.com/pcapsule/pcapsule/exporter/dissect/syslog"
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

// imapDid is a command of IMAP, its object, its status with a code if it failed, and the messages that
// FETCH returned with the bytes of their literals.
func imapDid(row table.CallRow) []string {
	r, ok := row.(*imap.Row)
	if !ok {
		return nil // TLS
	}
	object, result := r.Mailbox.V, r.Status.V
	switch r.Command {
	case "LOGIN":
		object = r.User.V
	case "AUTHENTICATE":
		object = r.User.V + " " + r.Auth.V
	}
	if result != "OK" {
		result = r.StatusText.V
	}
	if r.Messages.OK && r.Size.OK {
		result += fmt.Sprintf(" %d %d", r.Messages.V, r.Size.V)
	}
	return []string{r.Command + "\t" + object + "\t" + result}
}

// pop3Did is a command of POP3, its object, its status, and what it returned.
func pop3Did(row table.CallRow) []string {
	r, ok := row.(*pop3.Row)
	if !ok {
		return nil // TLS
	}
	object, result := r.Argument.V, r.StatusText.V
	switch r.Command {
	case "PASS", "APOP":
		object = r.User.V
	case "STAT":
		result += fmt.Sprintf(" %d %d", r.Messages.V, r.Size.V)
	case "LIST", "UIDL":
		if r.Messages.OK {
			result += fmt.Sprintf(" %d", r.Messages.V)
		}
	case "TOP":
		object = fmt.Sprint(r.Message.V)
		fallthrough
	case "RETR":
		result += fmt.Sprintf(" %d", r.Size.V)
	case "CAPA":
		result += fmt.Sprintf(" %d", len(r.Capabilities))
	}
	return []string{r.Command + "\t" + object + "\t" + result}
}

// ntpDid is a mode or operation of NTP, its version, and the version and stratum of the response.
func ntpDid(row table.CallRow) []string {
	r, ok := row.(*ntp.Row)
	switch {
	case !ok:
		return []string{"another protocol: " + row.Base().Summary}
	case r.Error.OK:
		return []string{fmt.Sprintf("%s\t%d\t%s", r.Method.V, r.Version, r.Error.V)}
	}
	return []string{fmt.Sprintf("%s\t%d\t%d stratum %d", r.Method.V, r.Version, r.Version, r.Stratum.V)}
}

// dhcpDid is the type of a message of DHCP, the client, and the response with its address.
func dhcpDid(row table.CallRow) []string {
	r, ok := row.(*dhcp.Row)
	if !ok {
		return nil // neighbours
	}
	address := strings.Join(r.Addresses, " ")
	if r.ResponseType.OK && r.RequestBytes > 0 {
		address = strings.TrimSpace(r.ResponseType.V + " " + address)
	}
	return []string{r.Type + "\t" + r.Client.V + "\t" + address}
}

// syslogDid is a message of Syslog: its priority, application with the type of the message, and text.
func syslogDid(row table.CallRow) []string {
	r, ok := row.(*syslog.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	return []string{r.Method.V + "\t" + strings.TrimSpace(r.App.V+" "+r.ID.V) + "\t" + r.Message.V}
}
