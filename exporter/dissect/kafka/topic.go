package kafka

import (
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// idName is a topic's id with its name.
type idName struct {
	id   dissect.ID
	name string
}

// NameIDs implements dissect.IDNamer. Clients ask one server for metadata and others for records, so
// the names of topics are on other connections.
func (row *Row) NameIDs(names *dissect.IDNames) {
	for _, n := range row.named {
		names.Put(n.id, n.name)
	}
	if !row.ids {
		return
	}
	var pairs []string
	for _, s := range row.TopicIDs {
		if name := names.Name(parseUUID(s)); name != "" {
			pairs = append(pairs, s, name)
		}
	}
	if len(pairs) == 0 {
		return
	}
	r := strings.NewReplacer(pairs...)
	for _, list := range [...][]string{row.Topics, row.Partitions, row.Offsets} {
		for i := range list {
			list[i] = r.Replace(list[i])
		}
	}
	for _, text := range [...]*table.Opt[string]{&row.Path, &row.Request} {
		text.V = r.Replace(text.V)
	}
	row.Summary = r.Replace(row.Summary)
	row.Endpoint = row.EndpointOf()
}
