// Package ssrp reads the SQL Server Resolution Protocol ([MC-SQLR]), with which clients ask the SQL
// Server Browser for the instances of a machine and their ports.
//
// A row is a request with its response. A response to a broadcast comes from another address, so it
// is a row without a request.
package ssrp

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/table"
	"github.com/pcapsule/pcapsule/internal/clip"
)

const (
	maxInstances = 256 // of a response
	maxInstance  = 32  // bytes of an instance's name, [MC-SQLR] section 2.2.3
	maxText      = 256 // bytes of a value
	headSize     = 3   // of a response
	dacSize      = 6   // of the response to CLNT_UCAST_DAC
)

// Messages, [MC-SQLR] section 2.2.
const (
	broadcast = 0x02
	all       = 0x03
	one       = 0x04
	dac       = 0x0f
	response  = 0x05
)

var kinds = map[byte]string{broadcast: "CLNT_BCAST_EX", all: "CLNT_UCAST_EX", one: "CLNT_UCAST_INST", dac: "CLNT_UCAST_DAC"}

// Row is a request with its response.
type Row struct {
	table.Call
	Instance  table.Opt[string] `col:"ssrp_instance" enc:"dict" doc:"instance that the request asks for"`
	Instances []string          `col:"ssrp_instances" doc:"instances of the response as SERVER\\INSTANCE; at most 256"`
	Versions  []string          `col:"ssrp_versions" doc:"versions of the instances, in the order of ssrp_instances"`
	Endpoints []string          `col:"ssrp_endpoints" doc:"where the instances listen: tcp and a port, or np and a pipe, in the order of ssrp_instances"`
	Clustered bool              `col:"ssrp_clustered" doc:"an instance is a part of a failover cluster"`
	AdminPort table.Opt[int32]  `col:"ssrp_admin_port" doc:"TCP port of the dedicated administrator connection"`
}

// Protocol is SSRP.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:         "ssrp",
		Doc:          "SQL Server Resolution Protocol: instances of a machine and their ports",
		Versions:     "[MC-SQLR]",
		Depth:        "requests, instances with versions and endpoints",
		Transports:   []dissect.Transport{dissect.UDP},
		Ports:        []uint16{1434},
		Detect:       detect,
		DetectOnPort: detectOnPort,
		New:          newConn,
		Row:          &Row{},
	}
}

// detect accepts a response. Requests are too short to be distinguished from other protocols.
func detect(dir dissect.Dir, head []byte) dissect.Verdict {
	return dissect.Yes.If(dir == dissect.ToClient && isResponse(head) && len(head) != dacSize)
}

// detectOnPort accepts a client's requests to the port of the browser.
func detectOnPort(dir dissect.Dir, head []byte) dissect.Verdict {
	if _, ok := parseRequest(head); dir == dissect.ToServer && ok || dir == dissect.ToClient && isResponse(head) {
		return dissect.Yes
	}
	return dissect.No
}

func isResponse(b []byte) bool {
	if len(b) < dacSize || b[0] != response {
		return false
	}
	size := int(binary.LittleEndian.Uint16(b[1:]))
	return len(b) == dacSize && size == dacSize && b[3] == 1 || size == len(b)-headSize && strings.HasPrefix(string(b[headSize:]), "ServerName;")
}

// parseRequest returns the instance that a request asks for.
func parseRequest(b []byte) (instance string, ok bool) {
	if len(b) == 0 {
		return "", false
	}
	switch b[0] {
	case broadcast, all:
		return "", len(b) == 1
	case one:
		b = b[1:]
	case dac:
		if len(b) < 2 || b[1] != 1 {
			return "", false
		}
		b = b[2:]
	default:
		return "", false
	}
	name, rest, ended := strings.Cut(string(b), "\x00")
	if !ended || rest != "" || name == "" || len(name) > maxInstance || strings.ContainsFunc(name, func(c rune) bool { return c < ' ' }) {
		return "", false
	}
	return strings.ToValidUTF8(name, string(utf8.RuneError)), true
}

// wait is how long, in ns, a request may be answered.
const wait = int64(30e9)

type call = byid.Call[*Row, struct{}]

// conn is a conversation. A client waits for one response.
type conn struct {
	byid.Pairs[struct{}, *Row, struct{}]
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Start(c, wait, fill)
	return k
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	b := in.Data
	if len(b) == 0 { // the end
		return 0, nil
	}
	if in.Dir == dissect.ToServer {
		instance, ok := parseRequest(b)
		if !ok {
			return 0, fmt.Errorf("reading a request: %d bytes that begin with 0x%02x are not one", len(b), b[0])
		}
		row := &Row{Instance: table.NonEmpty(instance)}
		row.Method = table.Some(kinds[b[0]])
		k.Await(struct{}{}, k.Request(in, len(b), row), len(instance))
		return len(b), nil
	}
	if !isResponse(b) {
		return 0, fmt.Errorf("reading a response: %d bytes that begin with 0x%02x are not one", len(b), b[0])
	}
	c, _ := k.Take(struct{}{})
	c = k.Response(in, len(b), c, &Row{})
	if len(b) == dacSize {
		c.Row.AdminPort = table.Some(int32(binary.LittleEndian.Uint16(b[4:])))
	} else {
		c.Row.read(string(b[headSize:]))
	}
	k.End(c, "")
	return len(b), nil
}

// Gap implements dissect.Dissector; datagrams have no gaps.
func (k *conn) Gap(*dissect.Input, int64) bool { return true }

// read reads the list of a response, [MC-SQLR] section 2.2.5: names and values, with an empty name after
// each instance.
func (row *Row) read(list string) {
	words := strings.Split(list, ";")
	server, instance := "", ""
	for i := 0; i+1 < len(words); i += 2 {
		name, value := words[i], clip.Line([]byte(words[i+1]), maxText)
		if name == "" { // the end of an instance has one word only
			i--
			continue
		}
		switch name {
		case "ServerName":
			server = value
		case "InstanceName":
			if instance = server + `\` + value; len(row.Instances) == maxInstances {
				return
			}
			row.Instances = append(row.Instances, instance)
		case "IsClustered":
			row.Clustered = row.Clustered || value == "Yes"
		case "Version":
			row.Versions = append(row.Versions, value)
		case "tcp", "np", "via", "rpc", "spx", "adsp", "bv":
			if len(row.Endpoints) < 2*maxInstances {
				row.Endpoints = append(row.Endpoints, name+" "+value)
			}
		}
	}
}

// fill implements byid.Pairs.
func fill(c *call, why string) {
	row := c.Row
	row.Summary = "?"
	if row.Method.OK {
		row.Summary = row.Method.V
	}
	if row.Instance.OK {
		row.Summary += " " + row.Instance.V
	}
	row.Summary += " → "
	switch {
	case !c.X.HasResponse():
		row.Summary += why
	case row.AdminPort.OK:
		row.Summary += "port " + strconv.Itoa(int(row.AdminPort.V))
	case len(row.Instances) == 1:
		row.Summary += row.Instances[0]
	default:
		row.Summary += clip.Count(int64(len(row.Instances)), "instance", "instances")
	}
}
