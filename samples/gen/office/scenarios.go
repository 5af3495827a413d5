// Package office records directories, mail and file servers.
package office

import "github.com/pcapsule/pcapsule/samples/gen/lab"

// Scenarios are the captures of this package.
func Scenarios() []lab.Scenario {
	return []lab.Scenario{
		{Name: "ldap", Make: makeLDAP},
		{Name: "smtp", Make: makeSMTP},
		{Name: "ftp", Make: makeFTP},
		{Name: "files", Make: makeFiles},
		{Name: "ssh", Make: makeSSH},
		{Name: "imap", Make: makeIMAP},
		{Name: "pop3", Make: makePOP3},
		{Name: "kerberos", Make: makeKerberos},
		{Name: "smb", Make: makeSMB},
		{Name: "dcerpc", Make: makeDCERPC},
		{Name: "nfs", Make: makeNFS},
	}
}

// Parts are the servers and clients of this package, by the role that a process plays.
func Parts() map[string]lab.Part {
	return map[string]lab.Part{
		"ldap-client": ldapClient,
	}
}
