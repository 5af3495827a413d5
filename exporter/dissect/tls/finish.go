package tls

import (
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

// finishIfDone emits the handshake if both sides have ended it.
func (k *conn) finishIfDone() {
	hs := k.hs
	if hs == nil || hs.fatal {
		return // a fatal alert is often answered; the row waits for the end of the connection
	}
	switch {
	case hs.row.Midstream, !hs.version13():
		if hs.fin[client] && hs.fin[server] {
			k.finish("")
		}
	case hs.fin[client] && (hs.server || hs.keyed):
		k.finish("")
	}
}

// finish emits the handshake. why is the value of column error if it did not end normally.
func (k *conn) finish(why string) {
	hs := k.hs
	if hs == nil {
		return
	}
	if k.refusesEarly() { // so nothing of it is missing
		k.sides[k.client].closed.bytes, k.sides[k.client].closed.records = 0, 0
	}
	k.hs, k.done = nil, true
	row := hs.row
	k.note()
	if !k.quic {
		hs.keys(k.enc.State, k.enc.Reason)
	}
	whole := hs.fin[client] && (hs.fin[server] || hs.version13()) || hs.fatal
	row.Midstream = row.Midstream || !hs.client && !hs.server && !row.Renegotiation && len(row.Alerts) == 0
	if row.Renegotiation && !row.Version.OK && k.version != 0 {
		hs.setVersion()
	}
	switch {
	case row.Midstream:
		why = "cut"
	case hs.fatal && hs.client:
		why = ""
	case why == "" && !hs.client && !row.Renegotiation:
		why = "no_request"
	}
	switch {
	case why != "":
	case hs.gap:
		why = "gap"
	case hs.malformed:
		why = "malformed"
	case hs.cut:
		why = "cut"
	case !whole:
		why = "no_response"
	}
	if why != "" {
		row.Error = table.Some(why)
	}
	row.Complete = why == "" && whole
	row.Outcome = hs.outcome()
	k.describe(hs)
	row.Summary = hs.summary(why)
	k.clock(hs, whole)
	hs.x.Reversed = k.client == dissect.ToClient
	if k.quic { // the protocol inside, not the one that carries QUIC
		was := k.c.Info.Transport
		k.c.Info.Transport = dissect.QUIC
		defer func() { k.c.Info.Transport = was }()
	}
	k.c.Emit(&hs.x, row, hs.det)
}

// outcome is the result according to the messages: an alert blames the other side.
func (h *shake) outcome() string {
	switch {
	case h.fatal && h.det.FailedAlertBy.V == "client":
		return table.ServerError
	case h.fatal:
		return table.ClientError
	case h.row.Midstream:
		return table.Cut
	}
	return ""
}

// describe fills columns that are known only at the end.
func (k *conn) describe(hs *shake) {
	row := hs.row
	hs.resumed()
	switch {
	case hs.client && hs.server:
		row.Info = table.Some("ClientHello / ServerHello")
	case hs.client:
		row.Info = table.Some("ClientHello")
	case hs.server:
		row.Info = table.Some("ServerHello")
	}
	switch {
	case hs.clientCert == certSent:
		row.ClientCert = table.Some("sent")
	case hs.clientCert == certEmpty:
		row.ClientCert = table.Some("empty")
	case hs.requested:
		row.ClientCert = table.Some("requested")
	}
	switch {
	case hs.serverCert:
		row.CertState = table.Some("observed")
	case hs.server && hs.version13() || row.Renegotiation:
		row.CertState = table.Some("not_observable")
	case row.Resumed.OK || hs.helloDone && !hs.gap && !hs.malformed:
		row.CertState = table.Some("none")
	}
	if hs.serverCert {
		matchName(row, hs.det)
	}
}

// clock records the duration of the handshake.
func (k *conn) clock(hs *shake, whole bool) {
	if !whole || hs.fatal || hs.gap || !hs.client || !hs.x.HasResponse() {
		return
	}
	first, asked := hs.x.RequestTime()
	_, answered := hs.x.ResponseTime()
	a, b := k.c.Micros(first, asked), k.c.Micros(first, answered)
	if !a.OK || !b.OK {
		return
	}
	hs.row.TLSUs = table.Some(max(a.V, b.V))
	k.c.SetTLSTime(hs.row.TLSUs.V)
	if k.inner != nil {
		k.inner.SetTLSTime(hs.row.TLSUs.V)
	}
}

// summary is version, name → outcome.
func (h *shake) summary(why string) string {
	row := h.row
	var b strings.Builder
	b.Grow(128)
	switch {
	case row.VersionName.OK:
		b.WriteString(row.VersionName.V)
	case h.det.RecordVersion.V > 0x03ff || h.det.RecordVersion.V == 0x0100:
		b.WriteString("DTLS")
	default:
		b.WriteString("TLS")
	}
	if row.Renegotiation {
		b.WriteString(" renegotiation")
	}
	if row.Midstream {
		b.WriteString(" in mid-connection, its handshake was not captured")
		return b.String()
	}
	if row.SNI.OK {
		b.WriteByte(' ')
		b.WriteString(clip.Text(row.SNI.V, 120))
	}
	b.WriteString(" → ")
	switch {
	case h.fatal:
		b.WriteString("alert " + row.StatusText.V)
	case h.server:
		b.WriteString(row.SuiteName.V)
		if row.ALPN.OK {
			b.WriteString(", " + clip.Text(row.ALPN.V, 40))
		}
		if row.Resumed.OK {
			b.WriteString(", resumed")
		}
		if why != "" {
			b.WriteString(", " + why)
		}
	case why == "no_response" || why == "":
		b.WriteString("no response")
		if row.Renegotiation && why == "" {
			return strings.TrimSuffix(b.String(), " → no response")
		}
	default:
		b.WriteString(why)
	}
	return b.String()
}
