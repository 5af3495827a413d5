package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"
	"github.com/apache/cassandra-gocql-driver/v2/lz4"
	"github.com/apache/cassandra-gocql-driver/v2/snappy"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

const cassandraPOM = `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>samples</groupId><artifactId>cassandra</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.cassandra</groupId><artifactId>cassandra-all</artifactId><version>4.1.8</version></dependency>
</dependencies></project>
`

const cassandraYAML = `cluster_name: shop
num_tokens: 1
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
authenticator: PasswordAuthenticator
authorizer: AllowAllAuthorizer
commitlog_sync: periodic
commitlog_sync_period: 10000ms
endpoint_snitch: SimpleSnitch
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "%[1]s"
listen_address: %[1]s
rpc_address: %[1]s
start_native_transport: true
native_transport_port: 9042
data_file_directories: ["%[2]s/data"]
commitlog_directory: %[2]s/commitlog
saved_caches_directory: %[2]s/caches
hints_directory: %[2]s/hints
cdc_raw_directory: %[2]s/cdc
`

const cassandraLog = `<configuration><appender name="out" class="ch.qos.logback.core.ConsoleAppender"><encoder><pattern>%level %msg%n</pattern></encoder></appender>
<root level="INFO"><appender-ref ref="out"/></root></configuration>
`

// startCassandra starts a node and waits until its first user can log in.
func startCassandra(l *lab.Lab, ctx context.Context, on string) error {
	dir, err := lab.Jars(ctx, "cassandra-4.1.8", cassandraPOM)
	if err != nil {
		return err
	}
	conf := filepath.Join(l.Tmp, "cassandra.yaml")
	if err := os.WriteFile(conf, []byte(fmt.Sprintf(cassandraYAML, l.Hosts[on].IP, l.Tmp)), 0o644); err != nil {
		return err
	}
	logs := filepath.Join(l.Tmp, "logback.xml")
	if err := os.WriteFile(logs, []byte(cassandraLog), 0o644); err != nil {
		return err
	}
	agent, err := filepath.Glob(dir + "/lib/jamm-*.jar")
	if err != nil || len(agent) == 0 {
		return fmt.Errorf("no jamm in %s", dir)
	}
	argv := []string{"java", "-Xmx1g", "-Dcassandra.memtable_row_overhead_computation_step=1000", "-Dcassandra.config=file:" + conf, "-Dcassandra.storagedir=" + l.Tmp, "-Dcassandra.ring_delay_ms=100", "-Dcassandra.skip_wait_for_gossip_to_settle=0",
		"-Dcassandra.superuser_setup_delay_ms=0", "-Dlogback.configurationFile=" + logs, "-Djava.awt.headless=true", "-Dcassandra-foreground=yes",
		"-Djdk.attach.allowAttachSelf=true", "-javaagent:" + agent[0]}
	for _, p := range []string{"java.base/jdk.internal.misc", "java.base/jdk.internal.ref", "java.base/sun.nio.ch", "java.management.rmi/com.sun.jmx.remote.internal.rmi", "java.rmi/sun.rmi.registry",
		"java.rmi/sun.rmi.server", "java.sql/java.sql"} {
		argv = append(argv, "--add-exports", p+"=ALL-UNNAMED")
	}
	for _, p := range []string{"java.base/java.lang.module", "java.base/jdk.internal.loader", "java.base/jdk.internal.ref", "java.base/jdk.internal.reflect", "java.base/jdk.internal.math", "java.base/jdk.internal.module",
		"java.base/jdk.internal.util.jar", "jdk.management/com.sun.management.internal", "java.base/sun.nio.ch", "java.base/java.io", "java.base/java.lang", "java.base/java.lang.reflect", "java.base/java.util",
		"java.base/java.util.concurrent", "java.base/java.util.concurrent.atomic", "java.base/java.nio", "java.base/java.net"} {
		argv = append(argv, "--add-opens", p+"=ALL-UNNAMED")
	}
	if _, err = l.Start(on, "Created default superuser role", append(argv, "-cp", dir+"/lib/*", "org.apache.cassandra.service.CassandraDaemon")...); err != nil {
		return err
	}
	return l.Do(ctx, on, "wait", l.Hosts[on].IP+":9042")
}

func makeCassandra(ctx context.Context, out string) error {
	l, err := lab.New("cassandra", "", lab.At("client", "10.1.12.5"), lab.At("cassandra", "10.1.12.20"))
	if err != nil {
		return err
	}
	defer l.Close()
	if err := startCassandra(l, ctx, "cassandra"); err != nil {
		return err
	}
	r, err := l.Record(filepath.Join(out, "cassandra.pcapng"))
	if err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "cql-client", "10.1.12.20", filepath.Join(out, "cassandra.said.tsv")); err != nil {
		return err
	}
	return r.Stop()
}

// cqlClient does the same in versions 3, 4 and 5, with and without compression.
func cqlClient(ctx context.Context, args []string) error {
	var s lab.Said
	for _, v := range []struct {
		version int
		packed  gocql.Compressor
		schema  gocql.MetadataCacheMode // reading all of it makes long messages, which twice is enough
	}{
		{3, nil, gocql.Disabled}, {4, lz4.LZ4Compressor{}, gocql.Full}, {4, &snappy.SnappyCompressor{}, gocql.Disabled},
		{5, nil, gocql.Disabled}, {5, lz4.LZ4Compressor{}, gocql.Full},
	} {
		c := cqlCluster(args[0], v.version, &s)
		c.Compressor, c.Metadata.CacheMode = v.packed, v.schema
		if err := cqlTalk(ctx, c, &s); err != nil {
			return fmt.Errorf("version %d: %w", v.version, err)
		}
	}
	c := cqlCluster(args[0], 5, &s)
	c.Authenticator = gocql.PasswordAuthenticator{Username: cqlUser, Password: "wrong"}
	if x, err := c.CreateSession(); err == nil {
		x.Close()
		return errors.New("a wrong password is accepted")
	}
	return s.Write(args[1])
}

const cqlUser = "cassandra" // the first user, whose password is the same

// cqlLogins records the logins of a driver.
type cqlLogins struct{ said *lab.Said }

// ObserveConnect implements gocql.ConnectObserver: each connection of the driver logs in.
func (o cqlLogins) ObserveConnect(c gocql.ObservedConnect) {
	result := "ok"
	if e := gocql.RequestError(nil); errors.As(c.Err, &e) && e.Code() == gocql.ErrCodeCredentials {
		result = "BAD_CREDENTIALS"
	} else if c.Err != nil {
		result = c.Err.Error()
	}
	o.said.Line("AUTH\t%s\t%s", cqlUser, result)
}

func cqlCluster(at string, version int, s *lab.Said) *gocql.ClusterConfig {
	c := gocql.NewCluster(at)
	c.ProtoVersion, c.NumConns, c.DisableInitialHostLookup, c.Timeout, c.ConnectTimeout = version, 1, true, time.Minute, time.Minute
	c.ConnectObserver = cqlLogins{s}
	c.Authenticator = gocql.PasswordAuthenticator{Username: cqlUser, Password: cqlUser}
	return c
}

func cqlTalk(ctx context.Context, c *gocql.ClusterConfig, s *lab.Said) error {
	x, err := c.CreateSession()
	if err != nil {
		return err
	}
	defer x.Close()
	do := func(result string, query string, values ...any) error {
		err := x.Query(query, values...).ExecContext(ctx)
		if (err != nil) != (result != "ok") {
			return fmt.Errorf("%s: %w", query, err)
		}
		s.Line("%s\t%s\t%s", strings.Fields(query)[0], query, result)
		return nil
	}
	for _, q := range []struct {
		result, query string
		values        []any
	}{
		{"ok", "CREATE KEYSPACE IF NOT EXISTS shop WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}", nil},
		{"ok", "CREATE TABLE IF NOT EXISTS shop.orders (id int PRIMARY KEY, status text, total double)", nil},
		{"ok", "INSERT INTO shop.orders (id, status, total) VALUES (?, ?, ?)", []any{1, "paid", 10.5}},
		{"ok", "INSERT INTO shop.orders (id, status, total) VALUES (?, ?, ?)", []any{2, "sent", 21.0}},
		{"SYNTAX_ERROR", "CREATE nonsense", nil},
		{"ALREADY_EXISTS", "CREATE TABLE shop.orders (id int PRIMARY KEY)", nil},
	} {
		if err := do(q.result, q.query, q.values...); err != nil {
			return err
		}
	}
	const read = "SELECT id, status FROM shop.orders WHERE id IN (?, ?)"
	if n := x.Query(read, 1, 2).IterContext(ctx).NumRows(); n != 2 {
		return fmt.Errorf("%d rows", n)
	}
	s.Line("SELECT\t%s\t2 rows", read)
	b := x.Batch(gocql.LoggedBatch)
	b.Query("UPDATE shop.orders SET status = ? WHERE id = ?", "sent", 1)
	b.Query("DELETE FROM shop.orders WHERE id = 2")
	if err := b.ExecContext(ctx); err != nil {
		return err
	}
	s.Line("BATCH\t2 statements\tok")
	return nil
}
