package amqp1

import (
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect/internal/httpfield"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/message"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// stateName is the name of the state of a message.
func stateName(state value) string {
	switch state.desc {
	case stateReceived:
		return "received"
	case stateAccepted:
		return "accepted"
	case stateRejected:
		return "rejected"
	case stateRejected + 1:
		return "released"
	case stateModified:
		return "modified"
	case 0x33:
		return "declared"
	case 0x34:
		return "transactional"
	}
	return statusSettled
}

// settles sets the state of a message.
func (c *call) settles(state value) {
	word := stateName(state)
	c.row.State = table.Some(word)
	switch {
	case state.desc == stateRejected:
		c.refused(word, "", table.ClientError)
		c.fails(state.items(1).at(0))
	case word == "released" || word == "modified":
		c.refused(word, "", table.ClientError)
		if c.x.Reversed { // it goes back to its queue
			c.row.Outcome = table.ServerError
		}
	}
}

// refused records why a request failed.
func (c *call) refused(condition, description, outcome string) {
	c.row.StatusText, c.row.Outcome = table.NonEmpty(condition), outcome
	c.row.Description = table.NonEmpty(description)
}

// fails records an error, AMQP 1.0 section 2.8.14.
func (c *call) fails(e value) {
	if e.null() {
		return
	}
	f := e.items(2)
	condition := message.Text(f.at(0).bytes())
	outcome := table.ClientError
	switch condition {
	case "amqp:internal-error", "amqp:resource-limit-exceeded", "amqp:connection:forced", "amqp:not-implemented":
		outcome = table.ServerError
	}
	c.row.Condition = table.NonEmpty(condition)
	c.refused(condition, f.at(1).text(), outcome)
}

// ends reads the error of detach, end or close, which blamed says is that of a request.
func (c *call) ends(e value, blamed bool) {
	if c.row.Condition.OK {
		return
	}
	if c.fails(e); blamed {
		c.row.Outcome = table.OK
	}
}

// emit emits a call. why is the value of column error, empty if the call ended normally.
func (k *conn) emit(c *call, why string) {
	row := c.row
	if c.sent != nil {
		k.settled(c)
	}
	switch {
	case c.bad:
		why = "malformed"
	case c.gap:
		why = "gap"
	case !c.x.HasRequest(), why == "" && c.code == disposition: // of what was not captured
		why = "no_request"
	case c.may && c.whole:
		why = k.c.Optional(&c.x, why) // a subscriber may leave without a disposition
	}
	row.Error = table.NonEmpty(why)
	row.Complete = why == "" && (c.answered || c.alone) && c.whole
	httpfield.Trace(&row.Call, row.Headers)
	if !row.RequestID.OK {
		row.RequestID = row.Correlation
	}
	row.Delivered = c.code == transfer && c.x.Reversed
	row.Summary = c.summary(why)
	k.c.Emit(&c.x, row)
}

func (c *call) summary(why string) string {
	row := c.row
	s := row.Method.V
	switch c.code {
	case initial:
		if row.User.OK {
			s += " as " + row.User.V
		}
	case open:
		s += " " + row.Container.V
	case attach:
		s += " " + row.Role.V + " " + row.Address.V
	default:
		if row.Path.V != "" {
			s += " " + row.Path.V
		}
	}
	switch {
	case c.code == transfer:
		s += " (" + message.Size(c.size) + ")"
		if row.Path.V == "" { // the attach that names it was not captured
			s += " of ?"
		}
	case row.Credit.OK:
		s += " credit " + strconv.FormatInt(row.Credit.V, 10)
	case c.code == disposition:
		s += " " + strconv.FormatInt(row.Delivery.V, 10)
	}
	switch {
	case row.StatusText.OK:
		s += " → " + row.StatusText.V
	case row.State.OK:
		s += " → " + row.State.V
	case why != "":
		s += " → " + why
	case c.code == transfer && c.alone:
		s += " → settled"
	case !c.alone && c.answered:
		s += " → ok"
	}
	return s
}
