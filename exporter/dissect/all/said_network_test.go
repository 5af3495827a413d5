package all

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/openvpn"
	"github.com/pcapsule/pcapsule/exporter/dissect/rdp"
	"github.com/pcapsule/pcapsule/exporter/dissect/ssdp"
	"github.com/pcapsule/pcapsule/exporter/dissect/stun"
	"github.com/pcapsule/pcapsule/exporter/dissect/tftp"
	"github.com/pcapsule/pcapsule/exporter/dissect/wireguard"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// ssdpDid is an announcement, a search or a response: what it is about, and where the device describes itself.
func ssdpDid(row table.CallRow) []string {
	r, ok := row.(*ssdp.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	return []string{r.Method.V + "\t" + strings.TrimSpace(r.Kind.V+" "+r.Target.V) + "\t" + strings.TrimLeft(r.USN.V+" "+r.Location.V, " ")}
}

// rdpDid is a connection request with its cookie and the chosen security, or an MCS connect with the client's name and
// its result.
func rdpDid(row table.CallRow) []string {
	r, ok := row.(*rdp.Row)
	if !ok {
		return nil // TLS
	}
	return []string{r.Method.V + "\t" + r.User.V + r.Token.V + r.ClientName.V + "\t" + r.Selected.V + r.StatusText.V}
}

// openvpnDid is a session with its protection, and whether both sides sent data.
func openvpnDid(row table.CallRow) []string {
	r, ok := row.(*openvpn.Row)
	if !ok {
		return nil // TLS
	}
	result := r.Error.V
	if r.ClientPackets > 0 && r.ServerPackets > 0 {
		result = "connected"
	}
	return []string{r.Method.V + "\t" + r.Protection.V + "\t" + result}
}

// wireguardDid is a handshake, and whether both sides sent data after it.
func wireguardDid(row table.CallRow) []string {
	r, ok := row.(*wireguard.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	result := r.Error.V
	if r.ClientPackets > 0 && r.ServerPackets > 0 {
		result = "session"
	}
	return []string{r.Method.V + "\t\t" + result}
}

// stunDid is an address that a client learned or got, a refused login, or the messages of a channel.
func stunDid(row table.CallRow) []string {
	r, ok := row.(*stun.Row)
	if !ok {
		return nil // what the server sends to the peer
	}
	switch r.Method.V {
	case "Binding":
		return []string{"Binding\t\t" + r.Mapped.V}
	case "Allocate":
		if r.Relayed.OK {
			return []string{"Allocate\t" + r.User.V + "\t" + r.Relayed.V}
		} else if r.Failed {
			return []string{fmt.Sprintf("Allocate\t%s\t%d", r.User.V, r.StatusCode.V)}
		}
	case "ChannelData":
		return []string{fmt.Sprintf("ChannelData\t%s\t%d", r.Peers[0], r.Messages.V)}
	}
	return nil
}

// tftpDid is a transfer with the size of the file, or its error.
func tftpDid(row table.CallRow) []string {
	r, ok := row.(*tftp.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	b := row.Base()
	result := fmt.Sprint(b.RequestBodySize.V + b.ResponseBodySize.V)
	if r.Failed {
		result = fmt.Sprintf("error %d", r.StatusCode.V)
	}
	return []string{r.Method.V + "\t" + r.Path.V + "\t" + result}
}
