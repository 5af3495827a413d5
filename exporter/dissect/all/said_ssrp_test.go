package all

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/ssrp"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// ssrpDid is what a row says in the client's terms: a request and the instances or the port of its response.
func ssrpDid(row table.CallRow) []string {
	r, ok := row.(*ssrp.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	result := "nothing"
	if r.AdminPort.OK {
		result = strconv.Itoa(int(r.AdminPort.V))
	} else if len(r.Instances) > 0 {
		var names []string
		for _, s := range r.Instances {
			names = append(names, s[strings.IndexByte(s, '\\')+1:])
		}
		slices.Sort(names)
		result = strings.Join(names, " ")
	}
	return []string{r.Method.V + "\t" + r.Instance.V + "\t" + result}
}
