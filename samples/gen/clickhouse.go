package main

import (
	"context"
	_ "embed" // clickhouse.py
	"fmt"
	"os"
	"path/filepath"
)

//go:embed clickhouse.py
var clickHouseScript string

const clickHouseConfig = `<yandex>
<logger><level>warning</level><console>1</console></logger>
<tcp_port>9000</tcp_port><listen_host>%[1]s</listen_host>
<path>%[2]s/</path><tmp_path>%[2]s/tmp/</tmp_path><format_schema_path>%[2]s/</format_schema_path>
<users_config>%[2]s/users.xml</users_config><default_profile>default</default_profile><default_database>default</default_database>
<timezone>UTC</timezone><mark_cache_size>1000000</mark_cache_size>
</yandex>
`

const clickHouseUsers = `<yandex>
<profiles><default><max_threads>1</max_threads></default></profiles>
<users><shop><password>%s</password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota></shop></users>
<quotas><default></default></quotas>
</yandex>
`

// makeClickHouse records clickhouse-driver and clickhouse-client with a server.
func makeClickHouse(ctx context.Context, out string) error {
	python, err := pythonWith(ctx, "clickhouse-driver[lz4,zstd]==0.2.11")
	if err != nil {
		return err
	}
	const server = "10.1.41.20"
	l, err := newLab("clickhouse", "", host{"client", "10.1.41.5", ""}, host{"db", server, ""})
	if err != nil {
		return err
	}
	defer l.close()
	for name, text := range map[string]string{
		"clickhouse.py": clickHouseScript, "config.xml": fmt.Sprintf(clickHouseConfig, server, l.tmp), "users.xml": fmt.Sprintf(clickHouseUsers, samplePassword),
	} {
		if err := os.WriteFile(filepath.Join(l.tmp, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if _, err := l.start("db", "", "clickhouse-server", "--config-file="+filepath.Join(l.tmp, "config.xml")); err != nil {
		return err
	}
	if err := l.do(ctx, "client", "wait", server+":9000"); err != nil {
		return err
	}
	return l.recordClient(ctx, out, "clickhouse", python, filepath.Join(l.tmp, "clickhouse.py"), server, samplePassword, filepath.Join(out, "clickhouse.said.tsv"))
}
