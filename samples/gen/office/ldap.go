package office

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

const slapdConf = `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile %[1]s/slapd.pid
argsfile %[1]s/slapd.args
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile %[1]s/cert.pem
TLSCertificateKeyFile %[1]s/key.pem
database mdb
maxsize 10485760
suffix "dc=shop,dc=example"
rootdn "cn=admin,dc=shop,dc=example"
rootpw %[2]s
directory %[1]s/ldap
index objectClass eq
`

const shopDN = "dc=shop,dc=example"

func makeLDAP(ctx context.Context, out string) error {
	l, err := lab.New("ldap", "", lab.At("client", "10.1.20.5"), lab.At("ldap", "10.1.20.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := lab.WriteCertificates(l.Tmp); err != nil {
		return err
	}
	conf := filepath.Join(l.Tmp, "slapd.conf")
	if err := errors.Join(os.Mkdir(filepath.Join(l.Tmp, "ldap"), 0o755), os.WriteFile(conf, fmt.Appendf(nil, slapdConf, l.Tmp, lab.Password), 0o600)); err != nil {
		return err
	}
	if _, err := l.Start("ldap", "slapd starting", "/usr/sbin/slapd", "-f", conf, "-h", "ldap://10.1.20.20:389", "-d", "256"); err != nil {
		return err
	}
	return l.RecordClient(ctx, out, "ldap", l.Self, "-role", "ldap-client", "--", "ldap://10.1.20.20:389", filepath.Join(out, "ldap.said.tsv"), filepath.Join(l.Tmp, "keys.log"))
}

// ldapClient fills a directory, searches, compares, changes and deletes, makes errors, and repeats a
// search after StartTLS.
func ldapClient(_ context.Context, args []string) error {
	s := &lab.Said{}
	c, err := ldap.DialURL(args[0])
	if err != nil {
		return err
	}
	admin, ann := "cn=admin,"+shopDN, "uid=ann,ou=people,"+shopDN
	ldapResult(s, "BIND", "", "", c.UnauthenticatedBind(""))
	ldapResult(s, "BIND", admin, "", c.Bind(admin, "wrong"))
	ldapResult(s, "BIND", admin, "", c.Bind(admin, lab.Password))
	for _, dn := range []string{shopDN, "ou=people," + shopDN, "ou=people," + shopDN} { // the last exists already
		a := ldap.NewAddRequest(dn, nil)
		if kind, value, _ := strings.Cut(strings.SplitN(dn, ",", 2)[0], "="); kind == "dc" {
			a.Attribute("objectClass", []string{"dcObject", "organization"})
			a.Attribute("o", []string{"shop"})
			a.Attribute("dc", []string{value})
		} else {
			a.Attribute("objectClass", []string{"organizationalUnit"})
			a.Attribute("ou", []string{value})
		}
		ldapResult(s, "ADD", dn, "", c.Add(a))
	}
	for i, name := range []string{"ann", "bob", "cleo", "dan", "eve", "fay"} {
		a := ldap.NewAddRequest("uid="+name+",ou=people,"+shopDN, nil)
		a.Attribute("objectClass", []string{"inetOrgPerson"})
		a.Attribute("cn", []string{name})
		a.Attribute("sn", []string{"Sample"})
		a.Attribute("description", []string{strings.Repeat("a long description ", 20*i+20)})
		a.Attribute("userPassword", []string{lab.Password})
		ldapResult(s, "ADD", a.DN, "", c.Add(a))
	}
	ldapSearches(c, s)
	m := ldap.NewModifyRequest(ann, nil)
	m.Replace("mail", []string{"ann@shop.example"})
	m.Add("telephoneNumber", []string{"+1 555 0100"})
	ldapResult(s, "MODIFY", ann, "", c.Modify(m))
	for _, mail := range []string{"ann@shop.example", "bob@shop.example"} {
		is, err := c.Compare(ann, "mail", mail)
		if err != nil {
			return err
		}
		s.Line("COMPARE\t%s\t%s", ann, map[bool]string{true: "compareTrue", false: "compareFalse"}[is])
	}
	ldapResult(s, "MODIFY_DN", ann, "", c.ModifyDN(ldap.NewModifyDNRequest(ann, "uid=anna", true, "")))
	ldapResult(s, "DELETE", ann, "", c.Del(ldap.NewDelRequest(ann, nil)))
	ldapResult(s, "DELETE", "uid=bob,ou=people,"+shopDN, "", c.Del(ldap.NewDelRequest("uid=bob,ou=people,"+shopDN, nil)))
	_, err = c.WhoAmI(nil)
	ldapResult(s, "EXTENDED", "1.3.6.1.4.1.4203.1.11.3", "", err)
	c.Unbind()
	s.Line("UNBIND\t\t")
	if err := ldapTLS(args[0], args[2], s); err != nil {
		return err
	}
	return s.Write(args[1])
}

// ldapResult records an operation and the name of its result.
func ldapResult(s *lab.Said, what, object, more string, err error) {
	word := "success"
	var e *ldap.Error
	if errors.As(err, &e) {
		word = map[uint16]string{32: "noSuchObject", 49: "invalidCredentials", 68: "entryAlreadyExists", 4: "sizeLimitExceeded", 53: "unwillingToPerform", 48: "inappropriateAuthentication"}[e.ResultCode]
	}
	s.Line("%s\t%s\t%s%s", what, object, word, more)
}

func ldapSearches(c *ldap.Conn, s *lab.Said) {
	for _, q := range []struct {
		base, filter string
		scope, limit int
	}{
		{shopDN, "(objectClass=*)", ldap.ScopeBaseObject, 0},
		{"ou=people," + shopDN, "(&(objectClass=inetOrgPerson)(|(uid=a*)(uid=*e)(!(sn=Sample))))", ldap.ScopeSingleLevel, 0},
		{shopDN, "(uid>=c)", ldap.ScopeWholeSubtree, 0},
		{shopDN, "(objectClass=inetOrgPerson)", ldap.ScopeWholeSubtree, 4}, // there are more
		{"ou=nobody," + shopDN, "(uid=x)", ldap.ScopeWholeSubtree, 0},
	} {
		r, err := c.Search(ldap.NewSearchRequest(q.base, q.scope, ldap.NeverDerefAliases, q.limit, 0, false, q.filter, []string{"cn", "description"}, nil))
		n := 0
		if r != nil {
			n = len(r.Entries)
		}
		ldapResult(s, "SEARCH", q.base, fmt.Sprintf(" %d", n), err)
	}
}

// ldapTLS searches after StartTLS. Nobody notes this for the rows that are compared, because they
// are read without keys.
func ldapTLS(url, keys string, s *lab.Said) error {
	f, err := os.Create(keys)
	if err != nil {
		return err
	}
	defer f.Close()
	c, err := ldap.DialURL(url)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.StartTLS(&tls.Config{InsecureSkipVerify: true, KeyLogWriter: f}); err != nil {
		return err
	}
	s.Line("STARTTLS\t1.3.6.1.4.1.1466.20037\tsuccess")
	if err := c.Bind("cn=admin,"+shopDN, lab.Password); err != nil {
		return err
	}
	ldapSearches(c, &lab.Said{})
	return nil
}
