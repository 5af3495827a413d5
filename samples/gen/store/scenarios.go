// Package store records databases and caches.
package store

import "github.com/pcapsule/pcapsule/samples/gen/lab"

// Scenarios are the captures of this package.
func Scenarios() []lab.Scenario {
	return []lab.Scenario{
		{Name: "etcd", Make: makeEtcd},
		{Name: "redis", Make: makeRedis},
		{Name: "redis-cluster", Make: makeRedisCluster},
		{Name: "postgresql", Make: makePostgres},
		{Name: "postgresql-replication", Make: makeReplication},
		{Name: "mysql", Make: makeMySQL},
		{Name: "mongodb", Make: makeMongoDB},
		{Name: "clickhouse", Make: makeClickHouse},
		{Name: "memcached", Make: makeMemcached},
		{Name: "cassandra", Make: makeCassandra},
		{Name: "tds", Make: makeTDS},
		{Name: "ssrp", Make: makeSSRP},
	}
}

// Parts are the servers and clients of this package, by the role that a process plays.
func Parts() map[string]lab.Part {
	return map[string]lab.Part{
		"etcd-server":          etcdServer,
		"etcd-client":          etcdClient,
		"redis-client":         redisClient,
		"redis-cluster-client": redisClusterClient,
		"pg-client":            pgClient,
		"pgrepl-client":        pgReplClient,
		"mysql-client":         mysqlClient,
		"mongo-client":         mongoClient,
		"memc-client":          memcClient,
		"cql-client":           cqlClient,
	}
}
