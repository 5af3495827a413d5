package acceptance

// radiusFacts are the facts of RADIUS.
func radiusFacts() []fact {
	return []fact{
		{name: "radius_codes", truth: "radius_codes", sql: "select code::varchar, count(*) from (select radius_code as code from {calls} where protocol = 'radius' and request_bytes > 0 union all select status_code from {calls} where protocol = 'radius' and response_bytes > 0) q group by 1"},
	}
}

// snmpFacts are the facts of SNMP. The peer has versions only of 1 and 2c, and does not list the PDUs of
// encrypted messages.
func snmpFacts() []fact {
	const from = " from (select snmp_version as version, snmp_pdu as pdu from {calls} where protocol = 'snmp' and request_bytes > 0 union all select snmp_version, snmp_response_pdu from {calls} where protocol = 'snmp' and response_bytes > 0) q "
	const pdus = "['GetRequest', 'GetNextRequest', 'Response', 'SetRequest', 'Trap', 'GetBulkRequest', 'InformRequest', 'SNMPv2-Trap', 'Report']"
	return []fact{
		{name: "snmp_versions", truth: "snmp_versions", sql: "select case version when '1' then '0' else '1' end, count(*)" + from + "where version <> '3' group by 1"},
		{name: "snmp_pdus", truth: "snmp_pdus", sql: "select (list_position(" + pdus + ", pdu) - 1)::varchar, count(*)" + from + "where pdu <> 'encrypted' group by 1"},
	}
}

// kerberosFacts are the facts of Kerberos. The peer also counts the AP-REQ and AP-REP (14, 15) inside
// other messages and protocols.
func kerberosFacts() []fact {
	const types = "(values ('AS-REQ', 10), ('AS-REP', 11), ('TGS-REQ', 12), ('TGS-REP', 13), ('KRB-ERROR', 30)) as t(name, number)"
	own := func(v string) string {
		if v == "14" || v == "15" {
			return ""
		}
		return v
	}
	return []fact{
		{name: "kerberos_msg_types", truth: "kerberos_msg_types", fold: own, sql: "select number::varchar, count(*) from (select kerberos_type as name from {calls} where protocol = 'kerberos' and request_bytes > 0 union all select kerberos_response_type from {calls} where protocol = 'kerberos' and response_bytes > 0) q join " + types + " using (name) group by 1"},
		{name: "kerberos_errors", truth: "kerberos_errors", sql: "select kerberos_error_code::varchar, count(*) from {calls} where protocol = 'kerberos' and kerberos_error_code is not null group by 1"},
	}
}

// nfsFacts are the facts of NFS 3 and 4. Replies without their call have no procedure here.
func nfsFacts() []fact {
	procedures := func(version, names string) string {
		return "select (list_position(" + names + ", nfs_procedure) - 1)::varchar, sum((request_bytes > 0)::int + (response_bytes > 0)::int) from {calls} where protocol = 'nfs' and nfs_program = 'nfs' and nfs_version = " + version + " group by 1"
	}
	return []fact{
		{name: "nfs3_procs", truth: "nfs3_procs", sql: procedures("3", "['null', 'getattr', 'setattr', 'lookup', 'access', 'readlink', 'read', 'write', 'create', 'mkdir', 'symlink', 'mknod', 'remove', 'rmdir', 'rename', 'link', 'readdir', 'readdirplus', 'fsstat', 'fsinfo', 'pathconf', 'commit']")},
		{name: "nfs4_procs", truth: "nfs4_procs", sql: procedures("4", "['null', 'compound']")},
	}
}

// smbFacts are the facts of SMB 2. A negotiation that SMB 1 began is a response of SMB 2 for the peer, and
// an answer that takes long has two responses.
func smbFacts() []fact {
	const named = "(select unnest(['negotiate', 'session_setup', 'logoff', 'tree_connect', 'tree_disconnect', 'create', 'close', 'flush', 'read', 'write', 'lock', 'ioctl', 'cancel', 'echo', 'query_directory', 'change_notify', 'query_info', 'set_info', 'oplock_break']) as name, unnest(range(19)) as number) names"
	const messages = "(select smb_command as name, unnest(range((request_bytes > 0)::int + (response_bytes > 0)::int + (smb_async and smb_nt_status is not null)::int)) as message from {calls} where protocol = 'smb' and smb_version = 'smb2' union all select 'negotiate', 0 from {calls} where protocol = 'smb' and smb_version = 'smb1' and smb_dialect like '2.%') q"
	return []fact{
		{name: "smb2_commands", truth: "smb2_commands", sql: "select number::varchar, count(*) from " + messages + " join " + named + " using (name) group by 1"},
	}
}
