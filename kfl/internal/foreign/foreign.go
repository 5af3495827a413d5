// Package foreign translates filters of Wireshark and tcpdump into KFL, for error messages.
package foreign

// Language is what the hints use of KFL.
type Language struct {
	IsField    func(word string) bool    // it names a field
	IsOperator func(word string) bool    // it is an operator
	Address    func(text string) string  // an address or a prefix in quotes, other text as it is
	Compile    func(src string) *Problem // nil if it compiles
}

// Problem is what is wrong with a query.
type Problem struct {
	Offset  int  // byte offset in the query
	Unknown bool // a name is unknown
	Hinted  bool // there is another hint already
}

// Hint returns the likely intention behind a query with a problem: the same condition with Wireshark's
// fields and tcpdump's words replaced by KFL's and with addresses in quotes, and with words in quotes if
// they are unknown names. It suggests only queries that compile. For a field that calls do not have, it
// says where the field is. It returns "" if it knows nothing better.
func (k *Language) Hint(src string, err Problem) string {
	for bad, quote := &err, false; ; quote = true {
		text := k.fromWireshark(k.fromTcpdump(src), quote)
		if text != src {
			bad = k.Compile(text)
		}
		if bad == nil {
			return "write " + text
		}
		if quote || !bad.Unknown {
			return k.elsewhere(src, err)
		}
	}
}
