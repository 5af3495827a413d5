package foreign

// OtherPackets is the hint for what table packets does not have.
const OtherPackets = otherPackets

// Fields returns the names of Wireshark's fields; packets: which of them no call has.
func Fields() (list []string, packets map[string]bool) {
	packets = map[string]bool{}
	for name, f := range wireshark() {
		list, packets[name] = append(list, name), f.packets
	}
	return list, packets
}

// FromWireshark translates Wireshark's fields and operators.
func (k *Language) FromWireshark(src string) string { return k.fromWireshark(src, false) }

// Equivalent returns the names in KFL of a field of Wireshark, its scope, and the unit of its numbers.
func Equivalent(name string) (to []string, scope, unit string) {
	f := wireshark()[name]
	return either(f.to), f.scope, f.unit
}

// Says returns the hint for a field without an equivalent.
func Says(name string) string { return wireshark()[name].says }
