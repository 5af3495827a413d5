package derive_test

import (
	"github.com/pcapsule/pcapsule/exporter/derive"
	"github.com/pcapsule/pcapsule/forensics/redact"
)

// removal is a policy of package redact.
type removal struct{ *redact.Removal }

func (r removal) Search(found func(rule, value, whole string, rest bool)) derive.Search {
	f := r.Finder(found)
	return derive.Search{Row: f.Row, Text: f.Text, Header: f.Header, Payload: f.Payload}
}
