package finding

import "strings"

// Protocols that carry remote calls of DCE/RPC, and the SQL columns of a call, over TCP or in a named pipe of SMB.
const (
	RemoteProtocols = "'dcerpc', 'smb'"

	RemoteInterface = "coalesce(dcerpc_interface, smb_rpc_interface)"
	RemoteOperation = "coalesce(dcerpc_operation, smb_rpc_operation)"
)

// Remote is the SQL condition for requests of DCE/RPC for some operations of an interface. A client that writes a request
// and reads its result in two commands of SMB has one row for each, of which only the first counts.
func Remote(name string, operations ...string) string {
	return "(protocol IN (" + RemoteProtocols + ") AND coalesce(dcerpc_message, smb_rpc) = 'request' AND " + RemoteInterface + " = '" + name +
		"' AND " + RemoteOperation + " IN ('" + strings.Join(operations, "', '") + "'))"
}

// AnyOf joins SQL conditions.
func AnyOf(conditions ...string) string { return "(" + strings.Join(conditions, " OR ") + ")" }

// RemoteKinds are kinds of findings about remote calls, each with the condition for its calls. The first that holds counts.
type RemoteKinds struct{ Names, Is []string }

// RemoteKindsOf returns the kinds of a list.
func RemoteKindsOf[T any](list []T, of func(T) (name, is string)) (k RemoteKinds) {
	for _, x := range list {
		name, is := of(x)
		k.Names, k.Is = append(k.Names, name), append(k.Is, is)
	}
	return k
}

// Needs are what an analyzer needs that looks for the kinds.
func (k RemoteKinds) Needs() (list []Need) {
	for _, is := range k.Is {
		list = append(list, Calls(RemoteProtocols, Any(is)))
	}
	return list
}

// Which is the part of a CASE that names the kind of a call.
func (k RemoteKinds) Which() (sql string) {
	for i, is := range k.Is {
		sql += " WHEN " + is + " THEN '" + k.Names[i] + "'"
	}
	return sql
}
