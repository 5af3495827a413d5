package all

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/dissecttest"
	"github.com/pcapsule/pcapsule/exporter/dissect/grpc"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// etcdDid is what etcd's client notes of a call: the operation, its object, and the result.
func etcdDid(row table.CallRow) []string {
	g, ok := row.(*grpc.Row)
	if !ok || g.Operation == nil {
		return []string{"another call: " + row.Base().Summary}
	}
	o := g.Operation
	object, result := "", "ok"
	switch o.Name.V {
	case "put":
		object, result = o.Key.V, ""
		if o.Revision.V < 5 && !g.Failed {
			result = fmt.Sprintf("revision %d", o.Revision.V)
		}
	case "range", "delete_range":
		object, result = o.Range.V+" "+o.Key.V, fmt.Sprint(o.Count.V)
	case "txn":
		object, result = o.Condition.V, fmt.Sprintf("%t %d", o.Succeeded.V, o.Count.V)
	case "watch":
		object, result = o.Range.V+" "+o.Key.V, fmt.Sprintf("%d puts, %d deletes", o.Puts.V, o.Deletes.V)
		if strings.HasPrefix(o.Reason.V, "compacted") {
			result = "etcdserver: mvcc: required revision has been compacted"
		}
	case "lease_grant", "lease_keep_alive", "lease_time_to_live":
		object, result = strings.TrimSpace(o.Lease.V+" "+strings.Join(o.Keys, " ")), fmt.Sprintf("%d s", o.TTL.V)
	case "lease_revoke":
		object = o.Lease.V
	case "lease_leases", "member_list":
		result = fmt.Sprint(o.Count.V)
	case "role_grant_permission":
		object = o.Role.V + " " + o.Range.V + " " + o.Key.V
	default:
		object = strings.TrimSpace(o.User.V + " " + o.Role.V)
	}
	if g.Failed && g.Message.OK {
		result = g.Message.V
	}
	return []string{cells(o.Name.V, object, result)}
}

// TestNoPasswordOfEtcd looks for the passwords in rows and bodies: fields of gRPC have no names by which
// masking could find them later.
func TestNoPasswordOfEtcd(t *testing.T) {
	logins := 0
	for _, k := range talks(t, "etcd.pcapng") {
		r := dissecttest.Play(t, dissecttest.Options{Protocols: Protocols(nil), ServerPort: k.port, Roles: true, End: dissect.EndFin}, k.chunks...)
		for _, e := range r.Emissions {
			if e.Row.Base().AuthKind.OK {
				logins++
			}
			text := fmt.Sprintf("%+v", e.Row)
			for _, b := range []*dissect.Body{e.ReqBody, e.RespBody} {
				if b != nil {
					text += string(b.Bytes())
				}
			}
			for _, password := range []string{"root-password-1", "orders-password-2", "wrong-password-3"} {
				if strings.Contains(text, password) {
					t.Errorf("%s has %s", e.Row.Base().Summary, password)
				}
			}
		}
	}
	if logins != 4 {
		t.Errorf("%d calls with a password", logins)
	}
}
