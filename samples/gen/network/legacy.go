package network

import (
	"context"
	_ "embed" // scripts

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

var (
	//go:embed tacacs.py
	tacacsScript string
	//go:embed netbios.py
	netbiosScript string
	//go:embed irc.py
	ircScript string
	//go:embed dnp3.py
	dnp3Script string
)

// makeTACACS records tacacs_plus with a server of its script.
func makeTACACS(ctx context.Context, out string) error {
	return lab.RecordScript(ctx, out, "tacacs", tacacsScript, "10.1.61", "tacacs-plus==2.6")
}

// makeNetBIOS records nmblookup with nmbd of Samba.
func makeNetBIOS(ctx context.Context, out string) error {
	return lab.RecordScript(ctx, out, "netbios", netbiosScript, "10.1.62", "")
}

// makeIRC records clients of ngircd, one of which sends a file to another.
func makeIRC(ctx context.Context, out string) error {
	return lab.RecordScript(ctx, out, "irc", ircScript, "10.1.63", "")
}

// makeDNP3 records a master with an outstation of opendnp3.
func makeDNP3(ctx context.Context, out string) error {
	return lab.RecordScript(ctx, out, "dnp3", dnp3Script, "10.1.64", "yadnp3==3.2.1.4")
}
