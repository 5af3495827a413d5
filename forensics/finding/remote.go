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
