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
