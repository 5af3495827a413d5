package all

import (
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/openvpn"
	"github.com/pcapsule/pcapsule/exporter/dissect/rdp"
	"github.com/pcapsule/pcapsule/exporter/dissect/ssdp"
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
