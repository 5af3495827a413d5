package http1

import (
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/content/all"
	"github.com/pcapsule/pcapsule/exporter/dissect/dns"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfile"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

const maxSummaryTarget = 120 // bytes of the target in a summary

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	k.queue.Remove(c)
	for _, s := range [...]*side{&k.req, &k.resp} {
		if s.call == c { // given up before its end
			s.state, s.call, s.body = inHead, nil, nil
		}
	}
	row := c.open(0)
	asked := c.x.HasRequest()
	switch {
	case !asked:
		why = "no_request"
	case why != "":
	case c.gap:
		why = "gap"
	case c.malformed:
		why = "malformed"
	}
	if why != "" {
		row.Error = table.Some(why)
	}
	row.Complete = why == "" && c.reqWhole && c.respWhole && c.quirks&quirkFields == 0
	row.Outcome = table.HTTPOutcome(row.StatusCode.V)
	if c.respHead {
		row.KeepAlive = table.Some(!c.close)
	}
	row.Quirks = c.quirks.names()
	httpfield.Fill(&row.Call, row.Headers)
	row.Summary = c.summary(why)
	k.c.Unaffected(&c.x, dissect.ToServer)
	inner := dns.OverHTTPS(k.c, &c.x, &row.Call)
	if g := k.grpcRow(c); g != nil {
		k.c.Emit(&c.x, g)
	} else {
		httpfile.Files(&row.Call, &c.x)
		c.x.Left = why != "" && k.c.LeftFirst(&c.x)
		row.Columns = all.OfHTTP(k.c, &row.Call, &c.x)
		k.c.Emit(&c.x, row)
	}
	if inner != nil {
		inner()
	}
	k.c.Done(&c.x)
	*c = call{}
	calls.Put(c)
}

// summary is METHOD target → status (size of the response body).
func (c *call) summary(why string) string {
	row := c.row
	buf := make([]byte, 0, 192)
	buf = append(buf, orQuestion(row.Method)...)
	buf = append(buf, ' ')
	target := row.Path.V
	if c.isConnect || target == "" {
		target = row.Target.V
	}
	if target == "" && !c.x.HasRequest() {
		target = "?"
	}
	buf = append(buf, clip.Text(target, maxSummaryTarget)...)
	buf = append(buf, " → "...)
	switch {
	case row.StatusCode.OK:
		buf = strconv.AppendInt(buf, int64(row.StatusCode.V), 10)
	case c.respHead && !c.malformed:
		buf = append(buf, http09...)
	case why == "no_response":
		buf = append(buf, "no response"...)
	default:
		buf = append(buf, why...)
		why = ""
	}
	if b := c.x.RespBody; b != nil {
		buf = append(buf, " ("...)
		buf = appendSize(buf, b.Size())
		buf = append(buf, ')')
	}
	if c.respHead && why != "" && why != "no_request" {
		buf = append(buf, ", "...)
		buf = append(buf, why...)
	}
	return string(buf)
}

func orQuestion(s table.Opt[string]) string {
	if s.V == "" {
		return "?"
	}
	return s.V
}

// appendSize writes a size as 999 B, 1.2 kB, 3.4 MB.
func appendSize(buf []byte, n int64) []byte {
	if n < 1000 {
		return append(strconv.AppendInt(buf, n, 10), " B"...)
	}
	unit := 0
	tenths := n / 100
	for tenths >= 10000 && unit < 2 {
		tenths /= 1000
		unit++
	}
	buf = strconv.AppendInt(buf, tenths/10, 10)
	buf = append(buf, '.', byte('0'+tenths%10), ' ')
	return append(buf, [...]string{"kB", "MB", "GB"}[unit]...)
}
