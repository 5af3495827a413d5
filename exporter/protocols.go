package exporter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/all"
	content "github.com/pcapsule/pcapsule/exporter/dissect/content/all"
	"github.com/pcapsule/pcapsule/exporter/internal/write"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/recorder/secrets"
)

// Protocols lists the protocols for dissecting bundles.
func Protocols() []*dissect.Protocol { return all.Protocols(nil) }

// Schemas lists every table in the form that queries see: calls has the columns of all
// protocols.
func Schemas() []*table.Schema { return write.Schemas(Protocols()) }

// traits lists the traits of all protocols.
func traits() (list []table.ProtocolTraits) {
	for _, p := range Protocols() {
		list = append(list, table.ProtocolTraits{Protocol: p.Name, Traits: p.Traits})
	}
	return list
}

// ProtocolsError says why protocols cannot be selected.
type ProtocolsError struct {
	Unknown string // a name that no protocol has
	msg     string
}

func (e *ProtocolsError) Error() string { return e.msg }

// selects reports whether a protocol is to be found.
func (o *Options) selects(name string) bool {
	return (len(o.Only) == 0 || slices.Contains(o.Only, name)) && !slices.Contains(o.Without, name)
}

// protocols returns a function that makes the protocols. Those that are not selected are never found,
// but have their rows: another protocol may make them, as HTTP/2 those of gRPC and QUIC those of TLS, and HTTP has the
// columns of ClickHouse. Without leaves out also those.
func (o *Options) protocols(keys *secrets.Store) func() []*dissect.Protocol {
	return func() []*dissect.Protocol {
		list := all.Protocols(keys)
		for i, p := range list {
			if !o.selects(p.Name) {
				list[i] = &dissect.Protocol{Name: p.Name, Doc: p.Doc, Transports: p.Transports, Row: p.Row, Excluded: slices.Contains(o.Without, p.Name)}
			}
		}
		return list
	}
}

// checkProtocols checks Only, Without and DecodeAs: each name exists, something is left, and what is
// named explicitly can be found.
func (o *Options) checkProtocols() error {
	var names []string
	for _, p := range Protocols() {
		names = append(names, p.Name)
	}
	for _, name := range slices.Concat(o.Only, o.Without) {
		for _, p := range content.Protocols() {
			if p.Name == name && !slices.Contains(names, name) {
				return &ProtocolsError{msg: fmt.Sprintf("%s is a part of rows of %s: select or leave out those", name, strings.Join(p.Inside, " and "))}
			}
		}
		if !slices.Contains(names, name) {
			return &ProtocolsError{Unknown: name, msg: fmt.Sprintf("unknown protocol %q", name)}
		}
	}
	if !slices.ContainsFunc(names, o.selects) {
		return &ProtocolsError{msg: "the selection leaves no protocol"}
	}
	for _, p := range Protocols() {
		found, carried := o.selects(p.Name), slices.ContainsFunc(p.Inside, o.selects)
		switch {
		case len(p.Inside) == 0:
		case found && !carried && slices.Contains(o.Only, p.Name):
			return &ProtocolsError{msg: fmt.Sprintf("%s is read only inside %s: select that too", p.Name, strings.Join(p.Inside, " or "))}
		case carried && slices.Contains(o.Without, p.Name) && p.New == nil && p.NewStreams == nil:
			return &ProtocolsError{msg: fmt.Sprintf("%s is a part of %s: leave those out too", p.Name, strings.Join(p.Inside, ", "))}
		}
	}
	for _, d := range o.DecodeAs {
		if slices.Contains(names, d.Protocol) && !o.selects(d.Protocol) {
			return &ProtocolsError{msg: fmt.Sprintf("%s/%d cannot be decoded as %s, which is not selected", d.Transport, d.Port, d.Protocol)}
		}
	}
	return nil
}
