package quic

// form is the format of a transport parameter's value.
type form uint8

const (
	asHex form = iota
	asNumber
	asFlag
	asText
	asVersions // version_information, RFC 9368 section 3
	asAddress  // preferred_address
	asTag      // four letters, used by Google
)

// parameter is a transport parameter with its name in IANA's registry, or the name that its
// users gave it.
type parameter struct {
	name string
	form form
}

// parameterOf returns the parameter with that number, or false if it has no name.
func parameterOf(number uint64) (parameter, bool) {
	switch number {
	case 0x00:
		return parameter{"original_destination_connection_id", asHex}, true
	case 0x01:
		return parameter{"max_idle_timeout", asNumber}, true
	case 0x02:
		return parameter{"stateless_reset_token", asHex}, true
	case 0x03:
		return parameter{"max_udp_payload_size", asNumber}, true
	case 0x04:
		return parameter{"initial_max_data", asNumber}, true
	case 0x05:
		return parameter{"initial_max_stream_data_bidi_local", asNumber}, true
	case 0x06:
		return parameter{"initial_max_stream_data_bidi_remote", asNumber}, true
	case 0x07:
		return parameter{"initial_max_stream_data_uni", asNumber}, true
	case 0x08:
		return parameter{"initial_max_streams_bidi", asNumber}, true
	case 0x09:
		return parameter{"initial_max_streams_uni", asNumber}, true
	case 0x0a:
		return parameter{"ack_delay_exponent", asNumber}, true
	case 0x0b:
		return parameter{"max_ack_delay", asNumber}, true
	case 0x0c:
		return parameter{"disable_active_migration", asFlag}, true
	case 0x0d:
		return parameter{"preferred_address", asAddress}, true
	case 0x0e:
		return parameter{"active_connection_id_limit", asNumber}, true
	case 0x0f:
		return parameter{"initial_source_connection_id", asHex}, true
	case 0x10:
		return parameter{"retry_source_connection_id", asHex}, true
	case 0x11:
		return parameter{"version_information", asVersions}, true
	case 0x20:
		return parameter{"max_datagram_frame_size", asNumber}, true
	case 0x173e:
		return parameter{"discard", asHex}, true
	case 0x26ab:
		return parameter{"google_handshake_message", asHex}, true
	case 0x2ab2:
		return parameter{"grease_quic_bit", asFlag}, true
	case 0x3127:
		return parameter{"initial_round_trip_time", asNumber}, true
	case 0x3128:
		return parameter{"google_connection_options", asTag}, true
	case 0x3129:
		return parameter{"user_agent", asText}, true
	case 0x4752:
		return parameter{"google_quic_version", asVersions}, true
	case 0x7157:
		return parameter{"timestamp_old", asNumber}, true
	case 0x7158:
		return parameter{"timestamp", asNumber}, true
	case 0xff73db:
		return parameter{"version_information_draft", asVersions}, true
	case 0xff02de1a:
		return parameter{"min_ack_delay_draft", asNumber}, true
	case 0xff04de1b:
		return parameter{"min_ack_delay", asNumber}, true
	case 0xde1a:
		return parameter{"loss_bits_or_min_ack_delay", asNumber}, true
	case 0x17f7586d2cb571:
		return parameter{"reset_stream_at", asFlag}, true
	case 0x3e:
		return parameter{"initial_max_path_id", asNumber}, true
	case 0x1057:
		return parameter{"loss_bits", asNumber}, true
	}
	return parameter{}, false
}
