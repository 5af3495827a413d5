package acceptance

// radiusFacts are the facts of RADIUS.
func radiusFacts() []fact {
	return []fact{
		{name: "radius_codes", truth: "radius_codes", sql: "select code::varchar, count(*) from (select radius_code as code from {calls} where protocol = 'radius' and request_bytes > 0 union all select status_code from {calls} where protocol = 'radius' and response_bytes > 0) q group by 1"},
	}
}
