package decode

// wlanPrefix skips the monitor interface's header before an 802.11 frame.
func (w *walk) wlanPrefix() layer {
	b := w.data
	if len(b) < 8 {
		return w.short()
	}
	if w.next == linkRadiotap {
		return w.radiotap()
	}
	size := int(le32(b[4:]) & 0xffff)
	if avs := be32(b)&^0xf == 0x80211000; avs || size == 0 { // link type Prism may hold AVS instead
		size = int(be32(b[4:]) & 0xffff)
	}
	if size < 8 {
		return w.bad()
	}
	return w.skipTo(size, layerWLAN)
}

// radiotap reads the one field that determines the end of the frame and the start of its body:
// the flags, which come first or after a clock.
func (w *walk) radiotap() layer {
	b := w.data
	size, at := int(le16(b[2:])), 8
	if b[0] != 0 || size < 8 {
		return w.bad()
	}
	present := le32(b[4:])
	for more, n := present, 0; more&(1<<31) != 0 && n < maxRadiotapWords; n++ {
		if at+4 > len(b) {
			return w.short()
		}
		more = le32(b[at:])
		at += 4
	}
	if present&1 != 0 { // clock, aligned to its size
		at = (at+7)&^7 + 8
	}
	flags := byte(0)
	if present&2 != 0 && at < size && at < len(b) {
		flags = b[at]
	}
	if !w.skip(size) {
		return layerDone
	}
	if flags&0x10 != 0 && w.wire >= 4 { // frame check sequence at the end
		w.trim(w.wire - 4)
	}
	return w.wlanFrame(flags&0x20 != 0, false)
}

func (w *walk) wlan() layer { return w.wlanFrame(false, false) }

// wlanFrame reads an 802.11 data frame. padded means that its header is padded to a multiple of
// 4 bytes, swapped that its first two bytes are swapped, as some access points send them in
// CAPWAP.
func (w *walk) wlanFrame(padded, swapped bool) layer {
	b := w.data
	if len(b) < 2 {
		return w.short()
	}
	w.f.Named = wlanName(b[0], b[1], swapped)
	if len(b) < 24 { // the missing end of a beacon or an acknowledgement is no loss
		if b[0]&0x0c == 0x08 {
			return w.short()
		}
		return layerDone
	}
	control, ds, sequence := b[0], b[1], b[22]
	if swapped {
		control, ds, sequence = ds, control, b[23]
	}
	if control&0x03 != 0 {
		return w.bad()
	}
	if control&0x0c != 0x08 || control&0x40 != 0 { // not data, or data without a body
		return layerDone
	}
	if ds&0x40 != 0 {
		w.f.Problems |= Encrypted
		return layerDone
	}
	size, qos := 24, byte(0)
	if ds&0x03 == 0x03 { // between access points: a fourth address
		size += 6
	}
	if control&0x80 != 0 { // QoS
		if len(b) < size+2 {
			return w.short()
		}
		qos = b[size]
		size += 2
		if ds&0x80 != 0 { // HT control
			size += 4
		}
	}
	if padded {
		size = (size + 3) &^ 3
	}
	if !w.skip(size) {
		return layerDone
	}
	if sequence&0x0f != 0 { // a later fragment has no LLC
		return w.payload()
	}
	if qos&0x80 != 0 {
		return w.amsdu()
	}
	w.f.Named = ""
	return layerLLC
}

// wlanName is the name of an 802.11 frame without a packet in its body.
func wlanName(control, ds byte, swapped bool) string {
	if swapped {
		control, ds = ds, control
	}
	switch {
	case control&0x0c == 0x00:
		return wlanNames[control>>4]
	case control&0x0c == 0x04:
		return "wlan_control"
	case control&0x0c == 0x0c:
		return "wlan_extension"
	case control&0x40 != 0:
		return "wlan_null"
	case ds&0x40 != 0:
		return "wlan_encrypted"
	}
	return "wlan_data"
}

// amsdu decodes the first of the packets aggregated in one frame.
//
// LIMIT: the others are not decoded, because a Frame is one packet; Aggregate marks this.
func (w *walk) amsdu() layer {
	b := w.data
	if len(b) < 14 {
		return w.short()
	}
	size := int(be16(b[12:]))
	if 14+size+3 < w.wire {
		w.f.Problems |= Aggregate
	}
	w.skip(14)
	w.trim(size)
	w.f.Named = ""
	return layerLLC
}
