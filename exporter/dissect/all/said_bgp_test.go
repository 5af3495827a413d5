package all

import (
	"github.com/pcapsule/pcapsule/exporter/dissect/bgp"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// bgpDid is what an UPDATE lets its receiver show: each announced prefix with its path.
func bgpDid(row table.CallRow) (list []string) {
	r, ok := row.(*bgp.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	for _, p := range r.Prefixes {
		list = append(list, p+"\t"+r.ASPath.V)
	}
	return list
}
