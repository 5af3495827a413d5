package network

import (
	"context"
	_ "embed" // telnet.py

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

//go:embed telnet.py
var telnetScript string

// makeTelnet records inetutils telnet with telnetd: logins that fail and succeed, and commands.
func makeTelnet(ctx context.Context, out string) error {
	return lab.RecordScript(ctx, out, "telnet", telnetScript, "10.1.60", "")
}
