package kfl

// kind is a type of KFL without its refinements.
type kind uint8

const (
	kNil      kind = iota // the literal nil
	kBool                 // false or true
	kInt                  // 64 bits, signed
	kFloat                // 64 bits, finite
	kText                 // UTF-8
	kTime                 // nanoseconds since 1970 UTC
	kDuration             // nanoseconds
	kList                 // of elem
	kMap                  // text to text
	kBytes                // a BLOB
	kBody                 // a message body, kept in table bodies
	kJSON                 // a JSON value
	kXML                  // an element or attribute of XML
	kCIDR                 // an address range
)

// textKind is the kind of a text, if it changes the meaning of a comparison.
type textKind uint8

const (
	textPlain    textKind = iota
	textName              // a Kubernetes name: a literal that is not a valid name is a pattern
	textIP                // an address, RFC 5952
	textPort              // a number of 16 bits
	textOutcome           // an outcome of a call
	textHex               // lower-case hexadecimal of a BLOB
	textProtocol          // a protocol's keyword
	textPattern           // a literal r"…"
)

type typ struct {
	kind kind
	elem kind     // of a list
	text textKind // of a text
	unit string   // of a number
	each bool     // a list of which any element may match: x.*
}

var kindWords = [...]string{
	kNil: "nil", kBool: "bool", kInt: "int", kFloat: "float", kText: "text", kTime: "time", kDuration: "duration",
	kList: "list", kMap: "map", kBytes: "bytes", kBody: "body", kJSON: "JSON value", kXML: "XML element", kCIDR: "address range",
}

func (t typ) String() string {
	if t.kind == kList {
		return "list of " + kindWords[t.elem]
	}
	return kindWords[t.kind]
}

func (t typ) number() bool { return t.kind == kInt || t.kind == kFloat }

// duckTypes are the DuckDB types of expressions of each kind.
var duckTypes = map[kind]string{
	kBool: "BOOLEAN", kInt: "BIGINT", kFloat: "DOUBLE", kText: "VARCHAR", kTime: "BIGINT", kDuration: "BIGINT",
	kBytes: "BLOB", kJSON: "JSON",
}

// in returns the type's name in a dialect.
func (t typ) in(d *Dialect) string {
	if t.kind == kList {
		return put(d.listOf, d.types[t.elem])
	}
	return d.types[t.kind]
}

// op is the operation of an expression. Values may be absent (NULL in SQL); conditions never
// are.
type op uint8

const (
	// Values.
	opConst    op = iota // str, num or flt by type
	opAbsent             // an absent value
	opCol                // column str
	opHex                // args[0], a BLOB, as lower-case hexadecimal
	opVar                // variable num of a macro
	opArith              // args[0] str args[1]
	opNeg                // -args[0]
	opJoin               // text args[0] + text args[1]
	opCond               // args[0] ? args[1] : args[2]
	opSize               // size of args[0]: characters, elements, keys or bytes
	opList               // [args…] without the absent ones
	opFilter             // elements of args[0] for which args[1] is true of variable num
	opMap                // args[1] for each element of args[0], without the absent ones
	opElem               // element args[1] of list args[0]
	opConvert            // args[0] as the type
	opLookup             // map args[0], key args[1], default args[2] or ""
	opKeys               // keys of map args[0], each once, sorted
	opEntries            // a map: str is its source, args[0] the condition for its presence
	opDoc                // JSON value of body str
	opPath               // member path of JSON args[0]
	opBody               // body str; only under the conditions below
	opWhole              // text of body str
	opParse              // text args[0] as JSON
	opSpread             // members of JSON args[0], or of each element of a list of JSON
	opDeep               // strings, numbers and bools under key path[0] anywhere in the JSON of body str
	opFindings           // names of the findings about the call; can be tested only by name
	opXML                // XML text of body str
	opXMLStep            // child elements path[0], or attributes, of those in args[0]
	opXMLDeep            // elements path[0] anywhere in args[0]
	opCall               // string function str of args
	opJoined             // column str, as in flow.rtt_avg_us, of the row of another table that belongs to the call

	// Conditions.
	opTruth   // args[0], a bool that may be absent
	opAnd     // all args
	opOr      // any of args
	opNot     // not args[0]
	opCompare // args[0] str args[1]
	opIn      // args[0] in list args[1]
	opHasKey  // key args[0] in map args[1]
	opText    // str of contains, startsWith, endsWith: args[0] by args[1]
	opMatch   // args[0] matches re
	opExists  // args[0] is present
	opRange   // address args[0] in one of nets
	opAny     // args[1] is true for an element of args[0]
	opAll     // for all
	opOne     // for exactly one
	opHeader  // column headers has a header of kind str
	opBodyIs  // body str equals text args[0]
	opBodyHas // body str, text method path[0], by args[0]
	opBodyRe  // body str matches re
	opFinding // the call's number is in ids
)
