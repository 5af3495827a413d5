package acceptance

import "strings"

// ldapFacts are the facts of LDAP. The peer numbers operations by their tags: requests, entries and
// results.
func ldapFacts() []fact {
	const from = " from {calls} where protocol = 'ldap' and "
	const numbers = "(values ('bind', 0), ('unbind', 2), ('search', 3), ('modify', 6), ('add', 8), ('delete', 10), ('modify_dn', 12), ('compare', 14), ('abandon', 16), ('extended', 23)) as o(type, tag)"
	return []fact{
		{name: "ldap_ops", truth: "ldap_ops", sql: "select op, sum(n)::bigint from (select tag::varchar as op, count(*) as n from {calls} join " + numbers + " on ldap_type = type where protocol = 'ldap' and request_bytes > 0 group by 1" +
			" union all select (case tag when 3 then 5 else tag + 1 end)::varchar, count(*) from {calls} join " + numbers + " on ldap_type = type where protocol = 'ldap' and ldap_result_code is not null group by 1" +
			" union all select '24', count(*)" + from + "ldap_type = 'notification'" +
			" union all select '4', coalesce(sum(ldap_entries), 0)" + from + "true union all select '19', coalesce(sum(ldap_references), 0)" + from + "true) group by 1 having sum(n) > 0"},
		{name: "ldap_results", truth: "ldap_results", sql: "select ldap_result_code, count(*)" + from + "ldap_result_code is not null group by 1"},
	}
}

// smtpFacts are the facts of SMTP.
func smtpFacts() []fact {
	return []fact{
		{name: "smtp_codes", truth: "smtp_codes", sql: "select v, count(*) from (select unnest(smtp_codes) from {calls} where protocol = 'smtp') q(v) group by 1"},
	}
}

// ftpFacts are the facts of FTP. The peer counts a code for each line of a reply that has one.
func ftpFacts() []fact {
	const from = " from {calls} where protocol = 'ftp' and "
	return []fact{
		{name: "ftp_commands", truth: "ftp_commands", fold: strings.ToUpper, sql: "select ftp_command, count(*)" + from + "request_bytes > 0 group by 1"},
		{name: "ftp_codes", truth: "ftp_codes", sql: "select v, count(*) from (select unnest(ftp_codes)" + from + "true) q(v) group by 1"},
	}
}

// sshFacts are the facts of SSH.
func sshFacts() []fact {
	const from = " from {calls} where protocol = 'ssh' and "
	return []fact{
		{name: "hassh", truth: "hassh", sql: "select ssh_hassh, count(*)" + from + "ssh_hassh is not null group by 1"},
		{name: "hassh_server", truth: "hassh_server", sql: "select ssh_hassh_server, count(*)" + from + "ssh_hassh_server is not null group by 1"},
		{name: "ssh_protocols", truth: "ssh_protocols", sql: "select v, count(*) from (select unnest([ssh_client_version, ssh_server_version])" + from + "true) q(v) where v is not null group by 1"},
	}
}

// mailboxFacts are the facts of IMAP and POP3.
func mailboxFacts() []fact {
	return []fact{
		{name: "imap_commands", truth: "imap_commands", fold: strings.ToUpper, sql: "select replace(imap_command, 'UID ', ''), count(*) from {calls} where protocol = 'imap' and request_bytes > 0 group by 1"},
		{name: "pop_commands", truth: "pop_commands", fold: strings.ToUpper, sql: "select pop3_command, count(*) from {calls} where protocol = 'pop3' and request_bytes > 0 group by 1"},
	}
}

// ntpFacts are the facts of NTP.
func ntpFacts() []fact {
	const modes = "(values ('symmetric_active', 1), ('symmetric_passive', 2), ('client', 3), ('server', 4), ('broadcast', 5), ('control', 6), ('private', 7)) as m(name, mode)"
	return []fact{
		{name: "ntp_modes", truth: "ntp_modes", sql: "select mode::varchar, count(*) from (select ntp_mode as name from {calls} where protocol = 'ntp' and request_bytes > 0 union all select ntp_response_mode from {calls} where protocol = 'ntp' and response_bytes > 0) q join " + modes + " using (name) group by 1"},
	}
}

// dhcpFacts are the facts of DHCP.
func dhcpFacts() []fact {
	const messages = "(select dhcp_version as version, dhcp_type as type from {calls} where protocol = 'dhcp' and request_bytes > 0 union all select dhcp_version, dhcp_response_type from {calls} where protocol = 'dhcp' and response_bytes > 0) q"
	number := func(version, names string) string {
		return "select list_position(" + names + ", type)::varchar, count(*) from " + messages + " where version = " + version + " and list_contains(" + names + ", type) group by 1"
	}
	return []fact{
		{name: "dhcp_types", truth: "dhcp_types", sql: number("4", "['DISCOVER', 'OFFER', 'REQUEST', 'DECLINE', 'ACK', 'NAK', 'RELEASE', 'INFORM', 'FORCERENEW', 'LEASEQUERY', 'LEASEUNASSIGNED', 'LEASEUNKNOWN', 'LEASEACTIVE']")},
		{name: "dhcpv6_types", truth: "dhcpv6_types", sql: number("6", "['SOLICIT', 'ADVERTISE', 'REQUEST', 'CONFIRM', 'RENEW', 'REBIND', 'REPLY', 'RELEASE', 'DECLINE', 'RECONFIGURE', 'INFORMATION-REQUEST']")},
	}
}

// thriftFacts are the facts of Thrift: messages by method.
func thriftFacts() []fact {
	return []fact{{name: "thrift_methods", truth: "thrift_methods", sql: "select thrift_method, sum((request_bytes > 0)::int + (response_bytes > 0)::int) from {calls} where protocol = 'thrift' group by 1"}}
}

// sipFacts are the facts of SIP.
func sipFacts() []fact {
	const from = " from {calls} where protocol = 'sip' and "
	return []fact{
		{name: "sip_methods", truth: "sip_methods", sql: "select method, count(*)" + from + "request_bytes > 0 group by 1"},
		{name: "sip_statuses", truth: "sip_statuses", sql: "select v, count(*) from (select unnest(list_append(coalesce(sip_provisional, []), status_code::varchar))" + from + "true) q(v) where v is not null group by 1"},
	}
}

// diameterFacts are the facts of Diameter: commands, as requests (R) and answers (A).
func diameterFacts() []fact {
	const from = " from {calls} where protocol = 'diameter' and "
	return []fact{{name: "diameter_commands", truth: "diameter_commands", sql: "select diameter_command || 'R', count(*)" + from + "request_bytes > 0 group by 1 union all select diameter_command || 'A', count(*)" + from + "response_bytes > 0 group by 1"}}
}

// modbusFacts are the facts of Modbus: messages by function.
func modbusFacts() []fact {
	return []fact{{name: "modbus_funcs", truth: "modbus_funcs", sql: "select modbus_function, sum((request_bytes > 0)::int + (response_bytes > 0)::int) from {calls} where protocol = 'modbus' group by 1"}}
}
