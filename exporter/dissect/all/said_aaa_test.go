package all

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/diameter"
	"github.com/pcapsule/pcapsule/exporter/dissect/kerberos"
	"github.com/pcapsule/pcapsule/exporter/dissect/modbus"
	"github.com/pcapsule/pcapsule/exporter/dissect/radius"
	"github.com/pcapsule/pcapsule/exporter/dissect/rtp"
	"github.com/pcapsule/pcapsule/exporter/dissect/sctp"
	"github.com/pcapsule/pcapsule/exporter/dissect/sip"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// radiusDid is a request of RADIUS, its user with the method of the login, and the response with its
// error.
func radiusDid(row table.CallRow) []string {
	r, ok := row.(*radius.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	result := strings.TrimSpace(r.ResponseType.V + " " + r.ErrorCause.V)
	if r.Error.OK {
		result = r.Error.V
	}
	return []string{r.Type + "\t" + strings.TrimSpace(r.User.V+" "+r.AuthKind.V) + "\t" + result}
}

// kerberosDid is a request of Kerberos, its client or service, and the error code with, if it is 0, the
// encryption of the ticket.
func kerberosDid(row table.CallRow) []string {
	r, ok := row.(*kerberos.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	who := r.Client.V
	if r.Type == "TGS-REQ" {
		who = r.Service.V
	}
	return []string{r.Type + "\t" + who + "\t" + strings.TrimSpace(strconv.Itoa(int(r.ErrorCode.V))+" "+r.TicketEtype.V)}
}

// sipDid is a request of SIP, its number and its final status.
func sipDid(row table.CallRow) []string {
	r, ok := row.(*sip.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	status := ""
	if r.StatusCode.OK {
		status = fmt.Sprintf("%d %s", r.StatusCode.V, r.StatusText.V)
	}
	return []string{fmt.Sprintf("%s\t%d\t%s", r.Method.V, r.CSeq.V, status)}
}

// rtpDid is a stream of RTP: codec, packets, bytes of media, lost packets. The calls of SIP are not noted.
func rtpDid(row table.CallRow) []string {
	switch r := row.(type) {
	case *sip.Row:
		return nil
	case *rtp.Row:
		return []string{fmt.Sprintf("%s\t%d\t%d\t%d", r.Codec.V, r.Packets.V, r.Payload.V, r.Lost.V)}
	}
	return []string{"another protocol: " + row.Base().Summary}
}

// diameterDid is a request of Diameter and its result.
func diameterDid(row table.CallRow) []string {
	r, ok := row.(*diameter.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	return []string{r.CommandName + "\t" + r.StatusText.V}
}

// sctpDid is an association with the messages of both sides, or a request of Diameter in one.
func sctpDid(row table.CallRow) []string {
	switch r := row.(type) {
	case *dissect.Unknown:
		return nil
	case *sctp.Row:
		did := fmt.Sprintf("association\t%s of %d bytes sent, %d received", clip.Count(r.ClientMessages, "message", "messages"), r.ClientBytes, r.ServerMessages)
		if _, said, ok := strings.Cut(r.Cause.V, "abort: "); ok {
			did += ", aborted: " + said
		}
		return []string{did}
	}
	return diameterDid(row)
}

// modbusDid is a function of Modbus, its address and the registers that it read, or the exception.
func modbusDid(row table.CallRow) []string {
	r, ok := row.(*modbus.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	address, result := "", "ok"
	if r.Address.OK {
		address = strconv.Itoa(int(r.Address.V))
	}
	switch {
	case r.StatusCode.OK:
		result = fmt.Sprintf("exception %d", r.StatusCode.V)
	case len(r.Values) > 0:
		result = strings.Join(r.Values, " ")
	}
	return []string{fmt.Sprintf("%d\t%s\t%s", r.Function, address, result)}
}
