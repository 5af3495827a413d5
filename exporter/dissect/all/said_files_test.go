package all

import (
	"strconv"
	"strings"

	"github.com/pcapsule/pcapsule/exporter/dissect/dcerpc"
	"github.com/pcapsule/pcapsule/exporter/dissect/nfs"
	"github.com/pcapsule/pcapsule/exporter/dissect/smb"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// dcerpcDid is an operation that rpcclient was told to call or that failed, who called, and its result in rpcclient's
// words.
func dcerpcDid(row table.CallRow) []string {
	r, ok := row.(*dcerpc.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	said := map[string]string{"nca_s_fault_access_denied": "ACCESS_DENIED", "nca_proto_error": "RPC_PROTOCOL_ERROR"}[r.StatusText.V]
	switch r.Operation.V {
	case "NetSrvGetInfo", "EnumDomainUsers", "QueryUserInfo":
		if !r.StatusText.OK {
			said = "ok"
		}
	}
	if said == "" {
		return nil
	}
	return []string{r.Operation.V + "\t" + r.User.V + "\t" + said}
}

// smbDid is what a command of SMB does in the words of smbclient: a login with its status, a share other
// than IPC$, bytes written or read, a rename, a deletion, a file that could not be opened, a call of a
// named pipe, or that messages are encrypted.
func smbDid(row table.CallRow) []string {
	r, ok := row.(*smb.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	file, kind := strings.TrimPrefix(r.File.V, `\`), strings.TrimSuffix(strings.TrimPrefix(r.Command, "nt_"), "_andx")
	failed := r.Failed || r.Outcome == table.ClientError
	switch {
	case kind == "session_setup" && r.StatusText.V != "STATUS_MORE_PROCESSING_REQUIRED":
		return []string{"login\t" + r.User.V + "\t" + r.StatusText.V}
	case kind == "tree_connect" && !strings.HasSuffix(r.Share.V, "IPC$"):
		return []string{"share\t" + strings.Replace(r.Share.V, "FILES", "files", 1) + "\t" + r.StatusText.V}
	case kind == "create" && failed:
		return []string{"open\t" + file + "\t" + r.StatusText.V}
	case kind == "create" && r.Delete:
		return []string{"delete\t" + file + "\t"}
	case kind == "write" || kind == "read":
		return []string{kind + "\t" + file + "\t" + strconv.Itoa(int(r.Bytes.V))}
	case r.NewName.OK:
		return []string{"rename\t" + file + "\t" + r.NewName.V}
	case r.RPC.V == "request":
		return []string{"rpc\t" + r.Interface.V + "\t" + strconv.Itoa(int(r.Opnum.V))}
	case kind == "encrypted":
		return []string{"encrypted\t\t"}
	}
	return nil
}

// nfsDid is what a call of NFS does in the words of libnfs: a listing, bytes read or written, or a failure.
func nfsDid(row table.CallRow) []string {
	r, ok := row.(*nfs.Row)
	if !ok {
		return []string{"another protocol: " + row.Base().Summary}
	}
	verb := strings.ToLower(strings.TrimPrefix(r.Method.V, "NFS "))
	switch {
	case r.Status.V != 0:
		return []string{"failed\t\t" + r.StatusText.V}
	case verb == "readdir":
		return []string{"list\t" + r.File.V + "\t"}
	case verb == "read" || verb == "write":
		return []string{verb + "\t" + r.File.V + "\t" + strconv.Itoa(int(r.Bytes.V))}
	}
	return nil
}
