// Package modbus reads Modbus over TCP: functions, addresses, values and exceptions.
//
// A row is a request with its response, paired by transaction, unit and function.
package modbus

import (
	_ "embed" // for names.txt
	"fmt"
	"strconv"

	"github.com/pcapsule/pcapsule/exporter/dissect"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/byid"
	"github.com/pcapsule/pcapsule/exporter/dissect/internal/names"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Row is a request with its response.
type Row struct {
	table.Call
	Transaction   int32             `col:"modbus_transaction" doc:"identifier that pairs request and response"`
	Unit          int32             `col:"modbus_unit" doc:"unit: the device, behind a gateway"`
	Function      int32             `col:"modbus_function" doc:"function code"`
	Name          string            `col:"modbus_function_name" enc:"dict" doc:"name of the function, such as Read Holding Registers"`
	Address       table.Opt[int32]  `col:"modbus_address" doc:"first address that the request names, from 0; of Read/Write Multiple Registers, of the part that it reads"`
	Quantity      table.Opt[int32]  `col:"modbus_quantity" doc:"number of coils, inputs or registers from there"`
	WriteAddress  table.Opt[int32]  `col:"modbus_write_address" doc:"first address that Read/Write Multiple Registers writes"`
	WriteQuantity table.Opt[int32]  `col:"modbus_write_quantity" doc:"number of registers that it writes"`
	Written       []string          `col:"modbus_written" doc:"values that the request writes: registers, or ON and OFF for a single coil; at most 125"`
	Values        []string          `col:"modbus_values" doc:"values of registers in the response; at most 125"`
	Sub           table.Opt[int32]  `col:"modbus_subfunction" doc:"subfunction of Diagnostics, type of Encapsulated Interface Transport"`
	Exception     table.Opt[string] `col:"modbus_exception" enc:"dict" doc:"name of the exception, such as ILLEGAL DATA ADDRESS; its code is status_code"`
}

// Protocol is Modbus over TCP.
func Protocol() *dissect.Protocol {
	return &dissect.Protocol{
		Name:       "modbus",
		Doc:        "Modbus over TCP: functions, addresses, values",
		Versions:   "1.1b3",
		Depth:      "functions with addresses, values and exceptions",
		Transports: []dissect.Transport{dissect.TCP},
		Ports:      []uint16{502},
		Detect:     detect, DetectOnPort: detectOnPort,
		New: newConn,
		Row: &Row{},
	}
}

//go:embed names.txt
var namesText string

// tables are the sections of names.txt.
var tables = names.Lazy(namesText)

// key identifies a request. Some clients use one transaction for all.
type key struct {
	transaction    uint16
	unit, function uint8
}

type call = byid.Call[*Row, struct{}]

type conn struct {
	byid.Pairs[key, *Row, struct{}]
}

func newConn(c *dissect.Conn) dissect.Dissector {
	k := &conn{}
	k.Start(c, 0, fill)
	return k
}

// Read implements dissect.Dissector.
func (k *conn) Read(in *dissect.Input) (int, error) {
	b := in.Data
	if len(b) < headSize+1 {
		return 0, nil
	}
	h, err := readHead(b)
	if err != nil {
		return 0, err
	}
	if len(b) < h.size {
		k.Conn.Need(in.Dir, h.size)
		return 0, nil
	}
	data := b[headSize+1 : h.size]
	id := key{h.transaction, h.unit, h.function}
	if _, known := k.Get(id); in.Dir == dissect.ToClient && !known && !in.End && k.Conn.Unread(dissect.ToServer) > 0 {
		return 0, nil // its request may be in the bytes that waited for detection
	}
	fits := h.fits(in.Dir, data)
	if !fits {
		what := fmt.Sprintf("reading a message: %d bytes after function %d do not have its form", len(data), b[7])
		if k.Conn.Unproved() {
			return 0, fmt.Errorf("%s", what)
		}
		if tables()["function"][int64(h.function)] != "" { // else a function that the specification leaves to vendors
			k.Conn.Anomaly("malformed", what, 0)
		}
	}
	if in.Dir == dissect.ToServer {
		k.request(in, &h, id, data, fits)
	} else {
		k.response(in, &h, id, data, fits)
	}
	return h.size, nil
}

func newRow(h *head) *Row {
	return &Row{Transaction: int32(h.transaction), Unit: int32(h.unit), Function: int32(h.function), Name: tables()["function"].Name(int64(h.function), "function_")}
}

func (k *conn) request(in *dissect.Input, h *head, id key, d []byte, fits bool) {
	c := k.Request(in, h.size, newRow(h))
	if fits {
		c.Row.asked(h.function, d)
	}
	k.Await(id, c, 2*125*(16+8))
}

// number is a column with two bytes.
func number(b []byte) table.Opt[int32] { return table.Some(int32(word(b))) }

// asked sets the fields of a request's data.
func (r *Row) asked(function uint8, d []byte) {
	switch function {
	case 1, 2, 3, 4, 15, 16:
		r.Address, r.Quantity = number(d), number(d[2:])
	case 5, 6, 22:
		r.Address, r.Quantity = number(d), table.Some(int32(1))
	case 23:
		r.Address, r.Quantity, r.WriteAddress, r.WriteQuantity = number(d), number(d[2:]), number(d[4:]), number(d[6:])
	case 24:
		r.Address = number(d)
	case 8:
		r.Sub = number(d)
	case 43:
		r.Sub = table.Some(int32(d[0]))
	}
	switch function {
	case 5:
		r.Written = []string{map[byte]string{0: "OFF", 0xff: "ON"}[d[2]]}
	case 6:
		r.Written = registers(d[2:])
	case 16:
		r.Written = registers(d[5:])
	case 23:
		r.Written = registers(d[9:])
	}
}

// registers lists the values of registers.
func registers(b []byte) (list []string) {
	for ; len(b) >= 2; b = b[2:] {
		list = append(list, strconv.Itoa(word(b)))
	}
	return list
}

func (k *conn) response(in *dissect.Input, h *head, id key, d []byte, fits bool) {
	c, _ := k.Take(id)
	c = k.Response(in, h.size, c, newRow(h))
	switch {
	case h.failed && fits:
		c.Row.fail(int64(d[0]))
	case !h.failed && fits && (h.function == 3 || h.function == 4 || h.function == 23):
		c.Row.Values = registers(d[1:])
	}
	k.End(c, "")
}

// fail sets the result of an exception.
func (r *Row) fail(code int64) {
	name := tables()["exception"].Name(code, "exception_")
	r.StatusCode, r.StatusText, r.Exception = table.Some(int32(code)), table.Some(name), table.Some(name)
	switch {
	case code <= 3:
		r.Outcome = table.ClientError
	case code != 5: // the server needs more time
		r.Outcome = table.ServerError
	}
}

// fill sets the columns about the end of a call.
func fill(c *call, why string) {
	row := c.Row
	row.Method = table.Some(row.Name)
	s := fmt.Sprintf("%s, unit %d", row.Name, row.Unit)
	if row.Address.OK {
		s += fmt.Sprintf(", address %d", row.Address.V)
	}
	if row.Quantity.V > 1 {
		s += fmt.Sprintf(" to %d", row.Address.V+row.Quantity.V-1)
	}
	switch {
	case row.Exception.OK:
		s += " → " + row.Exception.V
	case why != "":
		s += " → " + why
	}
	row.Summary = s
}
