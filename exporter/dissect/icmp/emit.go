package icmp

import (
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	k.pending.Remove(c.entry)
	row := c.row
	hasRequest := c.x.HasRequest()
	switch {
	case why != "":
	case c.why != "":
		why = c.why
	case !hasRequest:
		why = "no_request"
	}
	if why != "" {
		row.Error = table.Some(why)
	}
	row.Complete = why == "" && !c.partial
	row.Summary = c.summary(k.c, why)
	k.c.Emit(&c.x, row)
	*c = call{}
	k.spare = c
}

// summary is the most important information of each kind of message.
func (c *call) summary(k *dissect.Conn, why string) string {
	row := c.row
	buf := make([]byte, 0, 160)
	if row.Type == "echo_request" {
		buf = append(buf, "ping"...)
	} else {
		buf = append(buf, row.Type...)
	}
	if row.Seq.OK && !row.QuotedSrc.OK {
		buf = append(buf, " seq "...)
		buf = strconv.AppendInt(buf, int64(row.Seq.V), 10)
	}
	for _, s := range [...]table.Opt[string]{row.StatusText, row.Target, row.Gateway} {
		if s.OK {
			buf = append(append(buf, ' '), s.V...)
		}
	}
	if n := len(row.Groups); n > 0 {
		buf = append(append(buf, ' '), row.Groups[0]...)
		if n > 1 {
			buf = append(buf, " +"...)
			buf = strconv.AppendInt(buf, int64(n-1), 10)
		}
	}
	if row.MTU.OK {
		buf = append(buf, " MTU "...)
		buf = strconv.AppendInt(buf, row.MTU.V, 10)
	}
	if row.QuotedSrc.OK {
		buf = append(append(buf, ", of "...), row.QuotedProto.V...)
		buf = appendEnd(append(buf, ' '), row.QuotedSrc.V, row.QuotedSrcPort)
		buf = appendEnd(append(buf, " → "...), row.QuotedDst.V, row.QuotedDstPort)
	}
	if c.x.HasRequest() && c.x.HasResponse() {
		sent, _ := c.x.RequestTime()
		_, got := c.x.ResponseTime()
		if us := k.Micros(sent, got); us.OK {
			buf = append(buf, " → "...)
			buf = strconv.AppendFloat(buf, float64(us.V)/1000, 'f', -1, 64)
			buf = append(buf, " ms"...)
		}
	}
	switch why {
	case "":
	case "no_response":
		buf = append(buf, " → no response"...)
	case "no_request":
		buf = append(buf, ", no request"...)
	default:
		buf = append(append(buf, ", "...), why...)
	}
	return string(buf)
}

// appendEnd writes an address, with its port if it has one (RFC 5952 section 6).
func appendEnd(buf []byte, addr string, port table.Opt[int32]) []byte {
	if !port.OK {
		return append(buf, addr...)
	}
	six := false
	for i := range len(addr) {
		six = six || addr[i] == ':'
	}
	if six {
		buf = append(append(append(buf, '['), addr...), ']')
	} else {
		buf = append(buf, addr...)
	}
	return strconv.AppendInt(append(buf, ':'), int64(port.V), 10)
}
