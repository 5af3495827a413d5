package table

import (
	_ "embed"
	"encoding/json"
	"slices"
	"strings"
	"sync"
)

// Traits are the properties of a protocol, beyond its columns, that questions about calls need. The
// dissector declares them; questions that do not dissect read the generated list. SQL texts are
// about one row of table calls.
type Traits struct {
	Carrier    bool        `json:"carrier,omitempty"`    // its rows are handshakes, not requests of an application
	Requests   string      `json:"requests,omitempty"`   // end of method in rows of requests; the others are messages that nothing answers
	Web        bool        `json:"web,omitempty"`        // requests with methods, paths and status codes of HTTP
	Serves     bool        `json:"serves,omitempty"`     // its calls cause other calls, and it has paths
	Lookup     bool        `json:"lookup,omitempty"`     // its requests find servers, and host is the name that they look for
	Elsewhere  bool        `json:"elsewhere,omitempty"`  // host is no name of the server: what a look-up asks for, the target of a proxy, the service of a ticket, or the client
	Encrypts   bool        `json:"encrypts,omitempty"`   // it encrypts what it carries
	Store      bool        `json:"store,omitempty"`      // method is a command of a store of keys and values
	Pooled     bool        `json:"pooled,omitempty"`     // clients keep connections in a pool, each with one call at a time
	Login      bool        `json:"login,omitempty"`      // credentials are sent once, when a connection begins
	Issues     bool        `json:"issues,omitempty"`     // responses have credentials, such as tickets, whatever the request proves
	Before     string      `json:"before,omitempty"`     // SQL condition for requests that a server also answers before a login
	Data       string      `json:"data,omitempty"`       // of a database or cache: SQL condition that a call reads or changes data, unlike a login or a prepared statement
	Words      string      `json:"words,omitempty"`      // SQL for the text of a call without its values, if it is not method and path; NULL: it has none
	Harmless   string      `json:"harmless,omitempty"`   // SQL condition for failures that are part of normal use
	TooMany    string      `json:"too_many,omitempty"`   // SQL condition that the server refused a connection because it has too many
	Wireshark  string      `json:"wireshark,omitempty"`  // Wireshark's name of the dissector for its decrypted messages
	Port       uint16      `json:"port,omitempty"`       // Wireshark detects it only on this TCP port
	Statements *Statements `json:"statements,omitempty"` // of a database whose calls are statements
}

// Statements are the properties of a database that questions need. Its columns include
// <protocol>_query, _params, _columns, _preview, _rows, _user and _application.
type Statements struct {
	Kind     string   `json:"kind"`                // column that says what a call is
	Error    string   `json:"error"`               // SQL for the text of an error
	Errors   []string `json:"errors"`              // columns with it
	OverHTTP bool     `json:"over_http,omitempty"` // rows of HTTP have its columns too
}

// NoLogin are the values of auth_kind for logins that prove nothing: the client only states who it
// is.
var NoLogin = []string{"trust", "anonymous", "none", "sys"}

// SentLogin are the values of auth_kind for logins that send a secret: in clear text, or in a form
// against which passwords can be tried. Other kinds prove a secret by a challenge, a signature or a
// ticket.
var SentLogin = []string{"password", "basic", "bearer", "token", "community", "pap", "md5", "cram-md5", "digest-md5", "apop", "chap", "ms-chap", "mysql_old_password"}

// Undissected are the protocols of rows about payload that no dissector reads. The dissect engine has one for each
// transport.
var Undissected = []string{"tcp", "udp", "icmp_payload", "sctp_payload", "ip", "quic_stream", "sctp_messages"}

// ProtocolTraits are the traits of one protocol.
type ProtocolTraits struct {
	Protocol string `json:"protocol"`
	Traits
}

//go:embed traits.json
var traitsJSON []byte

// AllTraits lists the protocols with their traits, in the order of detection.
var AllTraits = sync.OnceValue(func() (list []ProtocolTraits) {
	if err := json.Unmarshal(traitsJSON, &list); err != nil {
		panic("traits.json: " + err.Error())
	}
	return list
})

// FormatTraits writes traits.json.
func FormatTraits(list []ProtocolTraits) string {
	lines := make([]string, len(list))
	for i := range list {
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(&list[i]); err != nil {
			panic(err)
		}
		lines[i] = strings.TrimSpace(b.String())
	}
	return "[\n" + strings.Join(lines, ",\n") + "\n]\n"
}

// TraitsOf returns the traits of a protocol; those of an unknown one are zero.
func TraitsOf(protocol string) Traits {
	list := AllTraits()
	if i := slices.IndexFunc(list, func(p ProtocolTraits) bool { return p.Protocol == protocol }); i >= 0 {
		return list[i].Traits
	}
	return Traits{}
}

// ProtocolsIn is SQL for the list of the protocols with a trait and of some others, with brackets.
func ProtocolsIn(has func(*Traits) bool, others ...string) string {
	var names []string
	for i := range AllTraits() {
		if p := &AllTraits()[i]; has(&p.Traits) {
			names = append(names, "'"+p.Protocol+"'")
		}
	}
	for _, name := range others {
		names = append(names, "'"+name+"'")
	}
	return "(" + strings.Join(names, ", ") + ")"
}

// EitherOf joins an SQL text of all protocols that have it into a condition.
func EitherOf(text func(*Traits) string) string {
	var list []string
	for i := range AllTraits() {
		if p := &AllTraits()[i]; text(&p.Traits) != "" {
			list = append(list, "protocol = '"+p.Protocol+"' AND ("+text(&p.Traits)+")")
		}
	}
	return "(" + strings.Join(list, " OR ") + ")"
}

// Database is a protocol whose calls are statements.
type Database struct {
	Protocol string
	Data     string // see Traits
	Statements
}

// Databases are all of them.
var Databases = sync.OnceValue(func() (list []Database) {
	for _, p := range AllTraits() {
		if p.Statements != nil {
			list = append(list, Database{p.Protocol, p.Data, *p.Statements})
		}
	}
	return list
})

// Column is the column with a part of a call: query, params, columns, preview, rows, user or
// application.
func (d Database) Column(part string) string { return d.Protocol + "_" + part }

// DatabaseColumns lists the columns of all databases with a part.
func DatabaseColumns(part string) (list []string) {
	for _, d := range Databases() {
		list = append(list, d.Column(part))
	}
	return list
}

// DatabaseOf returns the database and the part of a column, if it is one of the parts.
func DatabaseOf(column string) (d Database, part string, ok bool) {
	for _, d := range Databases() {
		if part, ok := strings.CutPrefix(column, d.Protocol+"_"); ok {
			return d, part, true
		}
	}
	return d, "", false
}
