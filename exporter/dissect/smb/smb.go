// Package smb reads SMB 2 and 3, and SMB 1 (CIFS), over TCP and over NetBIOS sessions.
//
// A row is one command with its response. Names of files come from the commands that opened them,
// users from the login. Responses of NTLM, tickets and passwords are in no column. Encrypted or
// compressed messages of SMB 3 are counted in one row for each connection, and not read.
package smb

import (
	_ "embed" // for names.txt
	"unsafe"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/framed"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/pieces"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Limits of one command and of a connection.
const (
	maxWhole = 64 << 10 // bytes of a command that are read; the rest is counted
	maxText  = 1 << 10  // characters of a name
	maxList  = 64       // entries of a list
	maxKnown = 4096     // sessions, trees and open files each whose names are known
	maxPDU   = 16       // interfaces bound to a pipe
)

// Row is one command with its response.
type Row struct {
	table.Call
	Version     string            `col:"smb_version" enc:"dict" doc:"family of the message: smb1, smb2 (SMB 2 and 3), or netbios for what opens a session of NetBIOS"`
	Command     string            `col:"smb_command" enc:"dict" doc:"command, such as negotiate, session_setup, tree_connect, create, read; of SMB 1 nt_create_andx, trans2, …; encrypted or compressed for all such messages of a connection together, transfer for what was read or written of a file that was not closed"`
	MessageID   table.Opt[int64]  `col:"smb_message_id" doc:"message id, which pairs request and response; of SMB 1 the multiplex id"`
	Chain       []string          `col:"smb_chain" doc:"commands that follow in the same message of SMB 1 (AndX)"`
	Compound    bool              `col:"smb_compound" doc:"the request was sent in one message with others"`
	Async       bool              `col:"smb_async" doc:"the server first answered STATUS_PENDING"`
	Signed      bool              `col:"smb_signed" doc:"request or response is signed"`
	Credits     table.Opt[int32]  `col:"smb_credits" doc:"credits that the response grants"`
	Dialect     table.Opt[string] `col:"smb_dialect" enc:"dict" doc:"dialect that a negotiation selected, such as 3.1.1 or NT LM 0.12"`
	Dialects    []string          `col:"smb_dialects" doc:"dialects that the client offers"`
	Signing     table.Opt[string] `col:"smb_signing" enc:"dict" doc:"signing that the server states in a negotiation: required, enabled or disabled"`
	Cipher      table.Opt[string] `col:"smb_cipher" enc:"dict" doc:"cipher that a negotiation of 3.1.1 selected"`
	Session     table.Opt[string] `col:"smb_session" doc:"session id, hexadecimal; of SMB 1 the user id"`
	Auth        table.Opt[string] `col:"smb_auth" enc:"dict" doc:"kind of a login: ntlmv1, ntlmv2, ntlm (its first step), kerberos, anonymous, guest, lanman or plaintext"`
	User        table.Opt[string] `col:"smb_user" enc:"dict" doc:"user of the session, as the login states it; null if Kerberos hides it or it was not captured"`
	Domain      table.Opt[string] `col:"smb_domain" enc:"dict" doc:"domain of the user"`
	Workstation table.Opt[string] `col:"smb_workstation" enc:"dict" doc:"name of the client's machine in a login by NTLM"`
	Target      table.Opt[string] `col:"smb_target" enc:"dict" doc:"name of the server or its domain in its NTLM challenge, the DNS name if there is one"`
	Share       table.Opt[string] `col:"smb_share" enc:"dict" doc:"path of the connected share, such as \\\\files\\public"`
	ShareType   table.Opt[string] `col:"smb_share_type" enc:"dict" doc:"disk, pipe or print"`
	FileID      table.Opt[string] `col:"smb_file_id" doc:"identifier of the open file, hexadecimal"`
	File        table.Opt[string] `col:"smb_file" enc:"bloom" doc:"name of the file within its share, as it was opened; at most 1024 characters"`
	NewName     table.Opt[string] `col:"smb_new_name" doc:"name to which the file is renamed or linked"`
	Delete      bool              `col:"smb_delete" doc:"the file is deleted now, or when it is closed"`
	Access      []string          `col:"smb_access" doc:"rights that opening the file requests"`
	Disposition table.Opt[string] `col:"smb_disposition" enc:"dict" doc:"what opening does if the file exists or not: supersede, open, create, open_if, overwrite or overwrite_if"`
	Action      table.Opt[string] `col:"smb_action" enc:"dict" doc:"what opening did: superseded, opened, created or overwritten"`
	FileSize    table.Opt[int64]  `col:"smb_file_size" unit:"bytes" doc:"size of the opened file"`
	Offset      table.Opt[int64]  `col:"smb_offset" unit:"bytes" doc:"position in the file of a read or a write"`
	Length      table.Opt[int64]  `col:"smb_length" unit:"bytes" doc:"bytes that a read or a write requests"`
	Bytes       table.Opt[int64]  `col:"smb_bytes" unit:"bytes" doc:"bytes that were read or written, as the response states"`
	Pattern     table.Opt[string] `col:"smb_pattern" doc:"search pattern of a listing"`
	Info        table.Opt[string] `col:"smb_info" enc:"dict" doc:"subject of a query or a change of information, such as file/standard; of SMB 1 the name of the transaction"`
	Ioctl       table.Opt[string] `col:"smb_ioctl" enc:"dict" doc:"control code"`
	RPC         table.Opt[string] `col:"smb_rpc" enc:"dict" doc:"message of DCE/RPC on a named pipe: bind, request, …; response or fault if the request was in another command"`
	Interface   table.Opt[string] `col:"smb_rpc_interface" enc:"dict" doc:"interface of DCE/RPC, such as srvsvc; its UUID if it has no known name"`
	Operation   table.Opt[string] `col:"smb_rpc_operation" enc:"dict" doc:"operation of the interface, such as OpenSCManagerW; op_ and its number if it has no known name; null if its interface is not known"`
	Opnum       table.Opt[int32]  `col:"smb_rpc_opnum" doc:"number of the operation within the interface"`
	RPCStatus   table.Opt[int64]  `col:"smb_rpc_status" doc:"return value of the operation (NTSTATUS, Win32 error or HRESULT), or code of the fault; null if the operation returns none, or if it is encrypted or its kind is not known"`
	Status      table.Opt[int64]  `col:"smb_nt_status" doc:"status of the response, unsigned; its name is in status_text"`
	Messages    table.Opt[int64]  `col:"smb_messages" doc:"number of messages in a row of encrypted or compressed ones"`
}

// Protocol is SMB.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "smb",
		Doc:        "SMB file sharing: logins, shares, files, named pipes",
		Versions:   "SMB 2.0.2 to 3.1.1, SMB 1 (NT LM 0.12)",
		Depth:      "heads and parameters; of named pipes the heads and return values of DCE/RPC; encrypted messages are counted",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{445, 139},
		Detect:     detect,
		New:        newConn,
		Row:        &Row{},
		Traits:     table.Traits{Login: true, Before: "method IN ('NEGOTIATE', 'SESSION_SETUP', 'LOGOFF')", Harmless: "status_text IN ('STATUS_OBJECT_NAME_NOT_FOUND', 'STATUS_OBJECT_PATH_NOT_FOUND', 'STATUS_NO_SUCH_FILE', 'STATUS_NOT_FOUND', 'STATUS_FS_DRIVER_REQUIRED', 'STATUS_CANCELLED')"},
	}
}

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

// call is a command that waits for its response, or a response without a command.
type call struct {
	x       dissect.Exchange
	row     *Row
	key     key
	command int
	kind    int // of a transaction or of information
	session uint64
	file    string // key of the open file
	login   login
	got     [2]int64 // bytes of parameters and data of a transaction that were answered
	partial bool     // more of a transaction's request follows
	mixed   bool     // that was sent by the command of another transaction
	gap     bool
	bad     bool
	single  bool   // it has no response
	done    bool   // its response was read
	unknown string // why the result of a remote call is not known
}

const callCost = int(unsafe.Sizeof(call{}) + unsafe.Sizeof(Row{}))

// key identifies a request.
type key struct {
	v1, server bool
	id         uint64
}

// login has the fields of a session's login.
type login struct{ user, domain, auth, workstation string }

// tree is a connected share.
type tree struct{ share, kind string }

// file is an open file, or a pipe with the interfaces that are bound to it.
type file struct {
	name     table.Opt[string] // null if the command that opened it was not captured
	bound    map[int]string
	asked    map[uint32]*asked // calls in the pipe by their ids
	part     []byte            // a message in the pipe whose rest follows
	size     table.Opt[int64]  // when it was opened
	up, down *pieces.Transfer  // what was written and read; nil if nothing
	first    *Row              // of the first read or write
}

// known keeps the names of ids, at most maxKnown of them; the oldest are removed first.
type known[K comparable, V any] struct {
	all   map[K]V
	ring  []K
	costs []int
	cost  int // memory of all
	next  int
}

// put adds v and returns what it replaces.
func (k *known[K, V]) put(id K, v V, cost int) (old V) {
	if k.all == nil {
		k.all = map[K]V{}
	}
	cost += 128
	var had bool
	if old, had = k.all[id]; !had {
		if len(k.ring) < maxKnown {
			k.ring, k.costs = append(k.ring, id), append(k.costs, cost)
		} else {
			old = k.all[k.ring[k.next]]
			delete(k.all, k.ring[k.next])
			k.cost -= k.costs[k.next]
			k.ring[k.next], k.costs[k.next] = id, cost
			k.next = (k.next + 1) % maxKnown
		}
		k.cost += cost
	}
	k.all[id] = v
	return old
}

// treeKey identifies a tree.
type treeKey struct {
	session uint64
	id      int64
}

// conn is the state of a connection.
type conn struct {
	byid.Table[key, *call]
	parts     framed.Parts[*call]
	chains    [2]chain
	sessions  known[uint64, login]
	trees     known[treeKey, tree]
	files     known[string, *file]
	negotiate *call    // of SMB 1, which a response of SMB 2 may answer
	counted   [2]*call // encrypted and compressed messages
	missed    bool     // messages may be missing
	transfers int      // of open files
	piped     int      // memory of what was asked in pipes
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Table = byid.Table[key, *call]{Conn: c, Emit: k.emit}
	return k
}

// Kept implements dissect.Dissector.
func (k *conn) Kept() int {
	n := k.sessions.cost + k.trees.cost + k.files.cost + k.transfers*transferCost + k.piped
	for _, c := range [...]*call{k.parts[0].Call, k.parts[1].Call, k.counted[0], k.counted[1]} {
		if c != nil {
			n += callCost
		}
	}
	return n
}
