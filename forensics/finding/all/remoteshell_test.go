package all_test

import (
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/samples/traffic"
)

// TestShellsOnBareConnections has what reverse and bind shells begin with, and text protocols that look alike.
func TestShellsOnBareConnections(t *testing.T) {
	const found = "high: 10.0.0.5 and port 4444 of 198.51.100.7 exchanged commands and output of a command interpreter in clear text in 1 connection (reverse or bind shell)"
	for _, tt := range []struct{ name, client, server, want string }{
		{"bash -i", "bash: cannot set terminal process group (812): Inappropriate ioctl for device\nbash: no job control in this shell\n", "", found},
		{"a prompt", "www-data@web:/var/www$ ", "id\n", found},
		{"cmd", "Microsoft Windows [Version 10.0.19045.4291]\r\n(c) Microsoft Corporation.\r\n\r\nC:\\Windows>", "whoami\r\n", found},
		{"PowerShell", "PS C:\\Users\\ann> ", "dir\r\n", found},
		{"nc -e /bin/sh", "uid=33(www-data) gid=33(www-data) groups=33(www-data)\n", "id\n", found},
		{"a bind shell", "whoami\n", "root\n", found},
		{"sh without a terminal", "/bin/sh: 0: can't access tty; job control turned off\n$ ", "", found},
		{"commands without an answer", "whoami\n", "", ""},
		{"commands and bytes", "id\n", "\x00\x01\x02", ""},
		{"a text protocol", "identify me\n", "hello\n", ""},
		{"whois", "example.com\r\n", "Domain Name: EXAMPLE.COM\r\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var w traffic.Capture
			w.Exchange(0, 5*ms, "a", "10.0.0.5", "198.51.100.7:4444", tt.client, tt.server)
			w.Close(time.Second, "a")
			holdOne(t, &w, "remote-shell", tt.want)
		})
	}
}
