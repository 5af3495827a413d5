package table

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"
)

//go:embed protocols.tsv
var protocolsTSV string

// ProtocolColumns lists the columns of table calls that single protocols define, sorted by name.
// Readers that do not dissect use it, because a bundle may be older than a protocol. The list is
// generated from the dissectors.
var ProtocolColumns = sync.OnceValue(func() (list []Column) {
	for line := range strings.Lines(protocolsTSV) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		k, ok := KindOf(f[1])
		if len(f) != 5 || !ok {
			panic("protocols.tsv: " + line)
		}
		list = append(list, Column{Name: f[0], Kind: k, Optional: true, Protocol: f[2], Unit: f[3], Doc: f[4]})
	}
	return list
})

// FormatProtocolColumns writes protocols.tsv.
func FormatProtocolColumns(calls *Schema) string {
	var b strings.Builder
	for _, c := range calls.Columns {
		if c.Protocol != "" {
			fmt.Fprintf(&b, "%s\t%s\t%s\t%s\t%s\n", c.Name, c.Kind, c.Protocol, c.Unit, c.Doc)
		}
	}
	return b.String()
}
