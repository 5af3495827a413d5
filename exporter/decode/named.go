package decode

import "strconv"

// Name is the name in counters of a frame that is neither IP nor ARP: "lldp", "stp",
// "wlan_beacon", "can_socketcan". An unnamed EtherType or link type is given by number;
// "unreadable" is a frame without a complete EtherType or link header.
func (f *Frame) Name() string {
	switch {
	case f.Kind == KindARP && f.EtherType == etherRARP:
		return "rarp"
	case f.Kind == KindARP:
		return "arp"
	case f.Named != "":
		return f.Named
	case f.Problems&UnknownLink != 0:
		return linkName(f.LinkType)
	case f.EtherType != 0:
		if name := etherNames[f.EtherType]; name != "" {
			return name
		}
		return "ethertype_" + strconv.FormatUint(uint64(f.EtherType), 16)
	case f.Problems&(Truncated|BadLength|BadHeader|DepthLimit) != 0:
		return "unreadable"
	}
	return "other"
}

// linkName is the name of an unsupported link type.
func linkName(link uint16) string {
	if link >= 147 && link <= 162 {
		return "user" + strconv.Itoa(int(link)-147)
	}
	if name := linkNames[link]; name != "" {
		return name
	}
	return "linktype_" + strconv.Itoa(int(link))
}

// cookedNames are small numbers that Linux uses in place of an EtherType.
var cookedNames = map[uint16]string{0x000c: "can", 0x000d: "canfd", 0x000e: "canxl", 0x00f6: "ieee802_15_4", 0x00f7: "caif"}

// etherNames are EtherTypes that do not lead to IP.
var etherNames = map[uint16]string{
	0x00fe: "osi", 0x0842: "wake_on_lan", etherIPv4: "ipv4_unreadable", etherIPv6: "ipv6_unreadable",
	0x2000: "cdp", 0x22ea: "srp", 0x22f0: "avtp", 0x22f3: "trill", 0x22f4: "isis", 0x6002: "mop", 0x6003: "decnet", 0x6004: "lat",
	etherTEB: "ethernet_bridged", 0x6559: "frame_relay", etherRARP: "rarp", 0x809b: "appletalk", 0x80f3: "aarp", etherVLAN: "vlan",
	0x8102: "slpp", 0x8137: "ipx", 0x8138: "ipx", 0x86f5: "avtp", 0x8808: "flow_control", 0x8809: "slow_protocols", etherPPP: "ppp",
	etherMPLS: "mpls", etherMPLSmc: "mpls", etherPPPoEd: "pppoe_discovery", etherPPPoE: "pppoe_session", 0x886f: "ms_nlb", 0x8870: "jumbo_llc",
	0x887b: "homeplug", 0x888e: "eapol", 0x8892: "profinet", 0x8899: "realtek", 0x88a2: "aoe", 0x88a4: "ethercat", etherQinQ: "vlan",
	0x88ab: "powerlink", 0x88b5: "local_experiment", 0x88b6: "local_experiment", 0x88b7: "oui_extended", 0x88b8: "goose", 0x88b9: "gse",
	0x88ba: "sampled_values", 0x88c7: "eapol_preauth", 0x88ca: "tipc", 0x88cc: "lldp", 0x88cd: "sercos", 0x88d9: "lltd", 0x88dc: "wsmp",
	0x88e1: "homeplug_av", 0x88e3: "mrp", etherMACsec: "macsec", etherPBB: "pbb", 0x88f5: "mvrp", 0x88f6: "mmrp", 0x88f7: "ptp", 0x88fb: "prp",
	0x8902: "cfm", etherFabric: "fabricpath", etherCMD: "cisco_metadata", 0x8906: "fcoe", 0x890d: "tdls", 0x8914: "fip", 0x8915: "roce", 0x892f: "hsr", 0x893a: "ieee1905",
	etherVNTag: "vntag", etherETag: "etag", etherNSH: "nsh", 0x8947: "geonetworking", 0x8948: "geonetworking", 0x894b: "gre_like", 0x8999: "ncsi",
	0x88f8: "ncsi", 0x9000: "loopback_test", etherOldQinQ: "vlan", etherOldQinQ2: "vlan", etherOldQinQ3: "vlan", 0x9003: "slpp",
	0x4305: "batman", 0xcafe: "veritas_llt", 0xfefe: "osi",
}

// linkNames are unsupported link types, by their names in the pcap format.
var linkNames = map[uint16]string{
	2: "exp_ethernet", 3: "ax25", 4: "pronet", 5: "chaos", 7: "arcnet", 15: "slip_bsdos", 99: "symantec_firewall", 114: "ltalk", 118: "ios",
	123: "sunatm", 128: "tzsp", 132: "juniper_es", 134: "juniper_mfr", 139: "mtp2_with_phdr", 140: "mtp2", 141: "mtp3", 142: "sccp", 143: "docsis",
	144: "linux_irda", 164: "juniper_monitor", 165: "bacnet_ms_tp", 168: "juniper_pppoe_atm", 169: "gprs_llc", 170: "gpf_t", 171: "gpf_f",
	177: "linux_lapd", 182: "mfr", 183: "juniper_vp", 186: "usb", 187: "bluetooth_hci_h4", 188: "ieee802_16_mac_cps", 189: "usb_linux",
	190: "can20b", 191: "ieee802_15_4_linux", 193: "ieee802_16_mac_cps_radio", 195: "ieee802_15_4_withfcs", 196: "sita", 198: "raif1",
	199: "ipmb_kontron", 200: "juniper_st", 201: "bluetooth_hci_h4_with_phdr", 202: "ax25_kiss", 203: "lapd", 207: "most", 208: "lin_bus",
	209: "ipmb_linux", 210: "flexray", 211: "most", 212: "lin", 213: "x2e_serial", 214: "x2e_xoraya", 215: "ieee802_15_4_nonask_phy",
	216: "linux_evdev", 217: "gsmtap_um", 218: "gsmtap_abis", 219: "mpls", 220: "usb_linux_mmapped", 221: "decnet", 222: "ieee802_15_4_linux",
	224: "fc_2", 225: "fc_2_with_frame_delims", 227: "can_socketcan", 230: "ieee802_15_4_nofcs", 231: "dbus",
	235: "dvb_ci", 236: "mux27010", 237: "stanag_5066_d_pdu", 238: "juniper_atm_cemic", 240: "netanalyzer", 241: "netanalyzer_transparent",
	243: "mpeg_2_ts", 244: "ng40", 245: "nfc_llcp", 247: "infiniband", 248: "sctp", 249: "usbpcap", 250: "rtac_serial", 251: "bluetooth_le_ll",
	253: "netlink", 254: "bluetooth_linux_monitor", 255: "bluetooth_bredr_bb", 256: "bluetooth_le_ll_with_phdr", 257: "profibus_dl", 259: "epon",
	260: "ipmi_hpm_2", 261: "zwave_r1_r2", 262: "zwave_r3", 263: "wattstopper_dlm", 264: "iso_14443", 265: "rds", 266: "usb_darwin",
	268: "sdlc", 270: "loratap", 271: "vsock", 272: "nordic_ble", 273: "docsis31_xra31", 274: "ethernet_mpacket", 275: "displayport_aux",
	277: "sercos_monitor", 278: "openvizsla", 279: "elektrobit_ebhscr", 280: "vpp_dispatch", 283: "ieee802_15_4_tap", 286: "openflow",
	287: "dsa_tag", 288: "usb_2_0", 289: "atsc_alp", 290: "etw", 291: "netanalyzer_ng", 292: "zboss_ncp", 293: "usb_2_0_low_speed",
	294: "usb_2_0_full_speed", 295: "usb_2_0_high_speed", 296: "auerswald_log", 297: "zwave_tap", 298: "silabs_debug_channel", 299: "fira_uci",
}

// slowNames are the subtypes of slow protocols, IEEE 802.3 annex 57A.
var slowNames = [...]string{1: "lacp", 2: "lacp_marker", 3: "ethernet_oam", 10: "esmc"}

// saps are service access points of 802.2 that do not lead to IP.
var saps = map[byte]string{0x00: "llc_null", 0x42: "stp", 0x7e: "x25", 0xe0: "ipx", 0xf0: "netbios", 0xf4: "lan_manager", 0xf8: "rpl", 0xff: "ipx", 0xaa: "snap"}

// osiNames are the network layer protocol ids of ISO 9577.
var osiNames = map[byte]string{0x08: "q933", 0x81: "clnp", 0x82: "esis", 0x83: "isis"}

// snapNames are protocols of organizations, by organization and number.
var snapNames = map[uint64]string{
	0x00000c_0104: "port_aggregation", 0x00000c_0105: "mls_hello", 0x00000c_010b: "pvst", 0x00000c_0111: "udld", 0x00000c_2000: "cdp", 0x00000c_2003: "vtp",
	0x00000c_2004: "dtp", 0x00000c_200a: "stp_uplink_fast", 0x00e02b_00bb: "edp", 0x00e02b_00bc: "edp", 0x080007_809b: "appletalk",
	0x0080c2_000e: "stp", 0x001185_0001: "wlan_iapp", 0x000081_01a2: "sonmp", 0x000081_01a1: "sonmp", 0x000000_809b: "appletalk",
}

// pppNames are PPP's protocols that do not lead to IP.
var pppNames = map[uint16]string{
	0x0023: "osi", 0x002b: "ipx", 0x002d: "ppp_compressed_tcp", 0x002f: "ppp_uncompressed_tcp", 0x003d: "ppp_multilink", 0x00fd: "ppp_compressed",
	0x0207: "cdp", 0x8021: "ppp_ipcp", 0x8023: "ppp_osicp", 0x8031: "ppp_bcp", 0x8057: "ppp_ipv6cp", 0x80fd: "ppp_ccp", 0x8207: "ppp_cdpcp",
	0x8281: "ppp_mplscp", 0xc021: "ppp_lcp", 0xc023: "ppp_pap", 0xc025: "ppp_lqr", 0xc02d: "ppp_bap", 0xc223: "ppp_chap", 0xc227: "ppp_eap",
}

// wlanNames are the subtypes of 802.11 management frames.
var wlanNames = [16]string{
	"wlan_association_request", "wlan_association_response", "wlan_reassociation_request", "wlan_reassociation_response", "wlan_probe_request",
	"wlan_probe_response", "wlan_timing_advertisement", "wlan_management", "wlan_beacon", "wlan_atim", "wlan_disassociation",
	"wlan_authentication", "wlan_deauthentication", "wlan_action", "wlan_action", "wlan_management",
}
