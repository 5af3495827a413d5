package icmp

import "strconv"

// Types that are decoded here.
const (
	echoReply4   = 0
	unreachable4 = 3
	quench4      = 4
	redirect4    = 5
	echo4        = 8
	routerAdv4   = 9
	exceeded4    = 11
	parameter4   = 12
	timestamp4   = 13
	mask4        = 17
	extEcho4     = 42

	unreachable6 = 1
	tooBig6      = 2
	exceeded6    = 3
	parameter6   = 4
	echo6        = 128
	listenQuery6 = 130
	listenRep6   = 131
	listenDone6  = 132
	routerSol6   = 133
	routerAdv6   = 134
	neighSol6    = 135
	neighAdv6    = 136
	redirect6    = 137
	nodeQuery6   = 139
	listenRep26  = 143
	extEcho6     = 160
)

// kind says how a message is paired.
type kind struct {
	pairs    bool  // the message has a counterpart
	pair     uint8 // type of the counterpart
	request  bool
	sequence bool // paired by identifier and sequence number
	short    bool // the sequence number has one byte, RFC 8335
	echo     bool // the reply repeats the request's data
}

func kindOf(v6 bool, typ uint8) kind {
	if v6 {
		switch typ {
		case echo6, echo6 + 1:
			return kind{pairs: true, pair: typ ^ 1, request: typ == echo6, sequence: true, echo: true}
		case nodeQuery6:
			return kind{pairs: true, pair: nodeQuery6 + 1, request: true}
		case nodeQuery6 + 1:
			return kind{pairs: true, pair: nodeQuery6}
		case extEcho6, extEcho6 + 1:
			return kind{pairs: true, pair: typ ^ 1, request: typ == extEcho6, sequence: true, short: true}
		}
		return kind{}
	}
	switch typ {
	case echo4:
		return kind{pairs: true, pair: echoReply4, request: true, sequence: true, echo: true}
	case echoReply4:
		return kind{pairs: true, pair: echo4, sequence: true, echo: true}
	case timestamp4, 15, mask4:
		return kind{pairs: true, pair: typ + 1, request: true, sequence: true}
	case timestamp4 + 1, 16, mask4 + 1:
		return kind{pairs: true, pair: typ - 1, sequence: true}
	case extEcho4, extEcho4 + 1:
		return kind{pairs: true, pair: typ ^ 1, request: typ == extEcho4, sequence: true, short: true}
	}
	return kind{}
}

// TypeName is the name of a message type.
func TypeName(v6 bool, typ uint8) string {
	names := names4
	if v6 {
		names = names6
	}
	if s := names(typ); s != "" {
		return s
	}
	return "type_" + strconv.Itoa(int(typ))
}

func names4(typ uint8) string {
	switch typ {
	case echoReply4:
		return "echo_reply"
	case unreachable4:
		return "destination_unreachable"
	case quench4:
		return "source_quench"
	case redirect4:
		return "redirect"
	case 6:
		return "alternate_host_address"
	case echo4:
		return "echo_request"
	case routerAdv4:
		return "router_advertisement"
	case 10:
		return "router_solicitation"
	case exceeded4:
		return "time_exceeded"
	case parameter4:
		return "parameter_problem"
	case timestamp4:
		return "timestamp_request"
	case 14:
		return "timestamp_reply"
	case 15:
		return "information_request"
	case 16:
		return "information_reply"
	case mask4:
		return "address_mask_request"
	case 18:
		return "address_mask_reply"
	case 30:
		return "traceroute"
	case 31:
		return "datagram_conversion_error"
	case 40:
		return "photuris"
	case extEcho4:
		return "extended_echo_request"
	case 43:
		return "extended_echo_reply"
	}
	return ""
}

func names6(typ uint8) string {
	switch typ {
	case unreachable6:
		return "destination_unreachable"
	case tooBig6:
		return "packet_too_big"
	case exceeded6:
		return "time_exceeded"
	case parameter6:
		return "parameter_problem"
	case echo6:
		return "echo_request"
	case 129:
		return "echo_reply"
	case listenQuery6:
		return "multicast_listener_query"
	case listenRep6:
		return "multicast_listener_report"
	case listenDone6:
		return "multicast_listener_done"
	case routerSol6:
		return "router_solicitation"
	case routerAdv6:
		return "router_advertisement"
	case neighSol6:
		return "neighbor_solicitation"
	case neighAdv6:
		return "neighbor_advertisement"
	case redirect6:
		return "redirect"
	case 138:
		return "router_renumbering"
	case nodeQuery6:
		return "node_information_query"
	case 140:
		return "node_information_response"
	case 141:
		return "inverse_neighbor_solicitation"
	case 142:
		return "inverse_neighbor_advertisement"
	case listenRep26:
		return "multicast_listener_report_v2"
	case 144:
		return "home_agent_discovery_request"
	case 145:
		return "home_agent_discovery_reply"
	case 146:
		return "mobile_prefix_solicitation"
	case 147:
		return "mobile_prefix_advertisement"
	case 148:
		return "certification_path_solicitation"
	case 149:
		return "certification_path_advertisement"
	case 151:
		return "multicast_router_advertisement"
	case 152:
		return "multicast_router_solicitation"
	case 153:
		return "multicast_router_termination"
	case 155:
		return "rpl_control"
	case 157:
		return "duplicate_address_request"
	case 158:
		return "duplicate_address_confirmation"
	case extEcho6:
		return "extended_echo_request"
	case 161:
		return "extended_echo_reply"
	}
	return ""
}

// isError reports whether a message says that a packet could not be delivered.
func isError(v6 bool, typ uint8) bool {
	if v6 {
		return typ < 128 // RFC 4443 section 2.1
	}
	return typ == unreachable4 || typ == quench4 || typ == exceeded4 || typ == parameter4
}

// codeName is the name of a code, or "" if the type has no codes.
func codeName(v6 bool, typ, code uint8) string {
	var names []string
	switch {
	case v6 && typ == unreachable6:
		names = []string{"no_route", "administratively_prohibited", "beyond_scope", "address_unreachable", "port_unreachable",
			"source_policy", "reject_route", "source_routing_header", "headers_too_long"}
	case v6 && typ == exceeded6:
		names = []string{"hop_limit_exceeded", "reassembly_time_exceeded"}
	case v6 && typ == parameter6:
		names = []string{"erroneous_header", "unrecognized_next_header", "unrecognized_option", "incomplete_header_chain",
			"segment_routing_upper_layer", "unrecognized_next_header_by_router", "extension_header_too_big", "extension_header_chain_too_long",
			"too_many_extension_headers", "too_many_options", "option_too_big"}
	case v6 && typ == extEcho6+1, !v6 && typ == extEcho4+1:
		names = []string{"no_error", "malformed_query", "no_such_interface", "no_such_table_entry", "multiple_interfaces"}
	case v6:
	case typ == unreachable4:
		names = []string{"net_unreachable", "host_unreachable", "protocol_unreachable", "port_unreachable", "fragmentation_needed",
			"source_route_failed", "net_unknown", "host_unknown", "source_host_isolated", "net_prohibited", "host_prohibited",
			"net_unreachable_for_service", "host_unreachable_for_service", "communication_prohibited", "host_precedence_violation", "precedence_cutoff"}
	case typ == redirect4:
		names = []string{"for_net", "for_host", "for_service_and_net", "for_service_and_host"}
	case typ == exceeded4:
		names = []string{"ttl_exceeded", "reassembly_time_exceeded"}
	case typ == parameter4:
		names = []string{"pointer", "missing_option", "bad_length"}
	}
	if names == nil {
		return ""
	}
	if int(code) < len(names) {
		return names[code]
	}
	return "code_" + strconv.Itoa(int(code))
}
