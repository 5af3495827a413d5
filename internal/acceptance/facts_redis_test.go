package acceptance

// redisFacts are the facts of Redis.
func redisFacts() []fact {
	return []fact{
		{name: "redis_errors", truth: "resp_errors", sql: "select left(redis_error, 200), count(*) from {calls} where protocol = 'redis' and redis_error is not null group by 1"},
	}
}
