package all_test

import (
	"encoding/binary"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/pcapsule/pcapsule/samples/traffic"
)

// wide is text in UTF-16.
func wide(s string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return string(b)
}

// ntlmLogin is the last message of a login by NTLM. proof is the size of its response.
func ntlmLogin(user, station string, proof int) string {
	b := append([]byte("NTLMSSP\x00\x03\x00\x00\x00"), make([]byte, 60)...)
	binary.LittleEndian.PutUint32(b[60:], 1)
	for _, part := range []struct {
		at   int
		text string
	}{{12, string(make([]byte, 24))}, {20, string(make([]byte, proof))}, {28, wide("SHOP")}, {36, wide(user)}, {44, wide(station)}} {
		binary.LittleEndian.PutUint16(b[part.at:], uint16(len(part.text)))
		binary.LittleEndian.PutUint16(b[part.at+2:], uint16(len(part.text)))
		binary.LittleEndian.PutUint32(b[part.at+4:], uint32(len(b)))
		b = append(b, part.text...)
	}
	return string(b)
}

// smb is a connection of SMB 2.
type smb struct {
	w              *traffic.Capture
	client, server string
	id             uint64
}

func (c *smb) message(command uint16, status uint32, flags uint32, body string) string {
	b := append([]byte("\xfeSMB\x40\x00"), make([]byte, 58)...)
	binary.LittleEndian.PutUint32(b[8:], status)
	binary.LittleEndian.PutUint16(b[12:], command)
	binary.LittleEndian.PutUint32(b[16:], flags)
	binary.LittleEndian.PutUint64(b[24:], c.id)
	binary.LittleEndian.PutUint64(b[40:], 0x51)
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(b)+len(body)))) + string(b) + body
}

func (c *smb) call(at time.Duration, command uint16, status uint32, request, response string) {
	c.id++
	c.w.Exchange(at, ms, "smb "+c.client+c.server, c.client, c.server+":445", c.message(command, 0, 0, request), c.message(command, status, 1, response))
}

func (c *smb) login(at time.Duration, user, station string, proof int, status uint32) {
	token := ntlmLogin(user, station, proof)
	size := string([]byte{byte(len(token)), byte(len(token) >> 8)})
	c.call(at, 1, status, "\x19\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x58\x00"+size+string(make([]byte, 8))+token, "\x09\x00\x00\x00\x48\x00\x00\x00")
}

func (c *smb) share(at time.Duration, name string, status uint32) {
	path := wide(`\\` + c.server + `\` + name)
	c.call(at, 3, status, "\x09\x00\x00\x00\x48\x00"+string([]byte{byte(len(path)), 0})+path, "\x10\x00\x01\x00"+string(make([]byte, 12)))
}

// TestStolenHashes has logins by NTLM with an administrative share, and signs that they are stolen or not.
func TestStolenHashes(t *testing.T) {
	const claim = "10.0.0.1 administered 10.0.0.2 in 1 call after a login by NTLM as ann; signs of a stolen hash: "
	for _, tt := range []struct {
		name, user, station, share string
		proof                      int
		status, opened             uint32
		kerberos                   string // the client of a login of ann by Kerberos
		other                      string // station of another login of the client
		want                       string
	}{
		{"no sign", "ann", "PC1", "ADMIN$", 60, 0, 0, "", "", ""},
		{"no name", "ann", "", "ADMIN$", 60, 0, 0, "", "", "medium: " + claim + "the client stated no name of its machine"},
		{"a disk", "ann", "", "C$", 60, 0, 0, "", "", "medium: " + claim + "the client stated no name of its machine"},
		{"several names", "ann", "PC1", "ADMIN$", 60, 0, 0, "", "PC2", "medium: " + claim + "the client stated 2 names of its machine"},
		{"the same name", "ann", "PC1", "ADMIN$", 60, 0, 0, "", "pc1", ""},
		{"NTLMv1", "ann", "PC1", "ADMIN$", 24, 0, 0, "", "", "medium: " + claim + "it was NTLMv1"},
		{"Kerberos elsewhere", "ann", "PC1", "ADMIN$", 60, 0, 0, "10.0.0.3", "", "medium: " + claim + "the account logged in by Kerberos from another machine, not from this one"},
		{"Kerberos here", "ann", "PC1", "ADMIN$", 60, 0, 0, "10.0.0.1", "", ""},
		{"two signs", "ann", "", "ADMIN$", 60, 0, 0, "10.0.0.3", "", "high: " + claim + "the client stated no name of its machine; the account logged in by Kerberos from another machine, not from this one"},
		{"a common share", "ann", "", "public", 60, 0, 0, "", "", ""},
		{"a machine", "PC1$", "", "ADMIN$", 60, 0, 0, "", "", ""},
		{"a refused login", "ann", "", "ADMIN$", 60, 0xc000006d, 0, "", "", ""},
		{"a refused share", "ann", "", "ADMIN$", 60, 0, 0xc0000022, "", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			c := smb{w: &w, client: "10.0.0.1", server: "10.0.0.2"}
			c.login(0, tt.user, tt.station, tt.proof, tt.status)
			c.share(10*ms, tt.share, tt.opened)
			if tt.other != "" {
				c := smb{w: &w, client: "10.0.0.1", server: "10.0.0.4"}
				c.login(20*ms, "bob", tt.other, 60, 0)
			}
			if tt.kerberos != "" {
				request, response := kerberosLogin("ann", 18, true)
				w.Datagram(time.Second, tt.kerberos, "10.0.0.9:88", request, response)
			}
			holdOne(t, &w, "pass-the-hash", tt.want)
		})
	}
}

// TestOldNTLM has logins of versions 1 and 2.
func TestOldNTLM(t *testing.T) {
	for proof, want := range map[int]string{24: "high: 10.0.0.1 uses version 1 of NTLM, or LAN Manager to 10.0.0.2 in 1 call, with which a person who records a login can compute the hash of the password", 60: ""} {
		var w traffic.Capture
		c := smb{w: &w, client: "10.0.0.1", server: "10.0.0.2"}
		c.login(0, "ann", "PC1", proof, 0)
		holdOne(t, &w, "deprecated-protocol", want)
	}
}

// TestUploadedScripts has scripts that are requested after their upload, or are not.
func TestUploadedScripts(t *testing.T) {
	const content = "<?php system($_REQUEST['c']); ?>"
	form := func(name string) string {
		return traffic.HTTP("POST /upload HTTP/1.1", "Host: a\r\nContent-Type: multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\""+name+"\"\r\nContent-Type: image/png\r\n\r\n"+content+"\r\n--x--\r\n")
	}
	const claim = "high: 10.0.0.1 ran the script a.php on 10.0.0.2 in 1 request, after 10.0.0.1 had uploaded a file of that name"
	for _, tt := range []struct{ name, upload, path, status, answer, server, want string }{
		{"a form", form("a.php"), "/files/a.php?x=1", "200 OK", "done", "10.0.0.2:80", claim},
		{"PUT", traffic.HTTP("PUT /files/a.php HTTP/1.1", "Host: a", content), "/files/A.PHP", "200 OK", "done", "10.0.0.2:80", claim},
		{"PUT as in CVE-2017-12615", traffic.HTTP("PUT /a.php/ HTTP/1.1", "Host: a", content), "/a.php", "200 OK", "done", "10.0.0.2:8080", claim},
		{"it is shown, not run", form("a.php"), "/files/a.php", "200 OK", content, "10.0.0.2:80", ""},
		{"it is not there", form("a.php"), "/files/a.php", "404 x", "done", "10.0.0.2:80", ""},
		{"another script", form("a.php"), "/files/b.php", "200 OK", "done", "10.0.0.2:80", ""},
		{"a picture", form("a.png"), "/files/a.png", "200 OK", "done", "10.0.0.2:80", ""},
		{"another server", form("a.php"), "/files/a.php", "200 OK", "done", "10.0.0.3:80", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			get := func(at time.Duration, name, server string) {
				w.Exchange(at, ms, name, "10.0.0.1", server, traffic.HTTP("GET "+tt.path+" HTTP/1.1", "Host: a", ""), traffic.HTTP("HTTP/1.1 "+tt.status, "Content-Type: text/html", tt.answer))
			}
			port := tt.server[len("10.0.0.2"):]
			get(0, "before", "10.0.0.2"+port) // does not count
			w.Exchange(time.Second, ms, "up", "10.0.0.1", "10.0.0.2"+port, tt.upload, traffic.HTTP("HTTP/1.1 201 Created", "", ""))
			get(2*time.Second, "after", tt.server)
			holdOne(t, &w, "web-shell", tt.want)
		})
	}
}

// TestCommandsInParameters has commands as values of parameters, with their output or without, and words that are commands
// too.
func TestCommandsInParameters(t *testing.T) {
	const claim = "10.0.0.1 sent commands of a shell as parameters to /x.php on 10.0.0.2 in 1 request"
	query := func(q string) string { return traffic.HTTP("GET /x.php?"+q+" HTTP/1.1", "Host: a", "") }
	for _, tt := range []struct{ name, request, status, answer, want string }{
		{"with output", query("cmd=id"), "200 OK", "uid=33(www-data) gid=33(www-data)", "high: " + claim + "; 1 of the responses has the output of a command parameter cmd: id"},
		{"in a form", traffic.HTTP("POST /x.php HTTP/1.1", "Host: a\r\nContent-Type: application/x-www-form-urlencoded", "k=1&c=ls+-la"), "200 OK", "total 8\ndrwxr-xr-x 2 www-data www-data 4096 Jan 1 00:00 .\n", "high: " + claim},
		{"on Windows", query("x=%64ir%20c%3A%5C"), "200 OK", " Volume Serial Number is 1234-5678\r\n", "high: " + claim},
		{"in JSON", traffic.HTTP("POST /x.php HTTP/1.1", "Host: a\r\nContent-Type: application/json", `{"k":"1","cmd":"id"}`), "200 OK", "uid=33(www-data) gid=33(www-data)", "high: " + claim},
		{"in a part of a form", traffic.HTTP("POST /x.php HTTP/1.1", "Host: a\r\nContent-Type: multipart/form-data; boundary=q", "--q\r\nContent-Disposition: form-data; name=\"c\"\r\n\r\nid\r\n--q--\r\n"), "200 OK", "uid=33(www-data) gid=33(www-data)", "high: " + claim},
		{"in a header", traffic.HTTP("GET /x.php HTTP/1.1", "Host: a\r\nX-Run: id", ""), "200 OK", "uid=33(www-data) gid=33(www-data)", "high: " + claim},
		{"without output", query("cmd=whoami"), "200 OK", "x", "medium: " + claim + "; the server answered 1 of them with success, which shows no output"},
		{"refused", query("cmd=cat+/etc/hosts"), "404 x", "x", "low: " + claim + "; none was answered with success"},
		{"a column", query("sort=id&w=dir"), "200 OK", "x", ""},
		{"a word", query("q=cat+food&t=net+income"), "200 OK", "x", ""},
		{"a text with a list of files", query("page=2"), "200 OK", "drwxr-xr-x 2 www-data www-data 4096 Jan 1 00:00 .\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			w.Exchange(0, ms, "a", "10.0.0.1", "10.0.0.2:8081", tt.request, traffic.HTTP("HTTP/1.1 "+tt.status, "Content-Type: text/plain", tt.answer))
			holdOne(t, &w, "web-shell", tt.want)
		})
	}
}
