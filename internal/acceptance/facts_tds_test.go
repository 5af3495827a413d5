package acceptance

// tdsFacts are the facts of TDS: packets by type.
func tdsFacts() []fact {
	const types = "(values ('SQL_BATCH', 1), ('RPC', 3), ('ATTENTION', 6), ('BULK_LOAD', 7), ('FEDAUTH', 8), ('TRANSACTION', 14), ('LOGIN7', 16), ('SSPI', 17), ('PRELOGIN', 18)) as t(name, number)"
	return []fact{{name: "tds_types", truth: "tds_types", sql: "select number::varchar, sum(n)::bigint from (select tds_type as name, tds_request_packets as n from {calls} where protocol = 'tds') q join " + types + " using (name) group by 1 having sum(n) > 0 union all select '4', sum(tds_response_packets)::bigint from {calls} where protocol = 'tds' having sum(tds_response_packets) > 0"}}
}
