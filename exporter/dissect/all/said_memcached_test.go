package all

import (
	"slices"

	"github.com/pcapsule/pcapsule/exporter/dissect/memcached"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// memcDid is what a row of memcached says in the client's terms. The tools for the binary protocol also
// say what nobody asked them for.
func memcDid(row table.CallRow) []string {
	r, ok := row.(*memcached.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	form, result := r.Form, r.Status.V
	switch {
	case form == "binary" && slices.Contains([]string{"noop", "quit", "version"}, r.Command.V):
		return nil
	case form == "meta":
		form = "text"
	}
	if result == "" {
		result = "none"
	}
	return []string{form + "\t" + r.Command.V + "\t" + r.Key.V + "\t" + result}
}
