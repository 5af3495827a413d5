package dissect

import "github.com/pcapsule/pcapsule/exporter/table"

// Password looks at a password that was sent, which no row keeps: one that protects nothing is an anomaly known_password.
func (c *Conn) Password(user, password string) {
	if what := table.WeakPassword(user, password); what != "" {
		c.Anomaly("known_password", "the password that the client sent "+what, 0)
	}
}
