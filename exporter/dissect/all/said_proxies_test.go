package all

import (
	"fmt"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/proxy"
	"github.com/pcapsule/pcapsule/exporter/dissect/socks"
	"github.com/pcapsule/pcapsule/exporter/dissect/thrift"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// socksDid is a request of SOCKS, its target with the user, and how it ended.
func socksDid(row table.CallRow) []string {
	r, ok := row.(*socks.Row)
	if !ok {
		return nil // what the connection carried
	}
	object, end := r.Target.V, r.StatusText.V
	if r.User.OK {
		object = strings.TrimSpace(object + " as " + r.User.V)
	}
	switch {
	case r.Method.V == "NEGOTIATE":
	case r.Outcome == table.OK:
		end = "granted"
	default:
		end = fmt.Sprintf("code %d", r.StatusCode.V)
	}
	return []string{r.Method.V + "\t" + object + "\t" + end}
}

// proxyDid is a header of the PROXY protocol with both addresses.
func proxyDid(row table.CallRow) []string {
	r, ok := row.(*proxy.Row)
	if !ok || r.Method.V == "LOCAL" { // what followed, and health checks
		return nil
	}
	return []string{fmt.Sprintf("%s\t%s:%d\t%s:%d", r.Method.V, r.ClientIP.V, r.ClientPort.V, r.ServerIP.V, r.ServerPort.V)}
}

// thriftDid is a method of Thrift with its arguments and its result.
func thriftDid(row table.CallRow) []string {
	r, ok := row.(*thrift.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	return []string{r.Name.V + "\t" + r.Arguments.V + "\t" + r.Result.V}
}

// thriftHeaderDid is thriftDid with the headers of the call and of its reply, and the transforms.
func thriftHeaderDid(row table.CallRow) []string {
	did := thriftDid(row)
	r, ok := row.(*thrift.Row)
	if !ok {
		return did
	}
	of := map[string][]string{}
	for _, h := range r.Headers {
		of[h.Kind] = append(of[h.Kind], h.Name+"="+h.Value)
	}
	for _, list := range [][]string{of["request"], of["response"], r.Transforms} {
		did[0] += "\t" + strings.Join(list, ",")
	}
	return did
}
