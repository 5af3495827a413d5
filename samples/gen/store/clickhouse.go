package store

import (
	"context"
	_ "embed" // clickhouse.py
	"fmt"
	"os"
	"path/filepath"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
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
	python, err := lab.PythonWith(ctx, "clickhouse-driver[lz4,zstd]==0.2.11")
	if err != nil {
		return err
	}
	const server = "10.1.41.20"
	l, err := lab.New("clickhouse", "", lab.At("client", "10.1.41.5"), lab.At("db", server))
	if err != nil {
		return err
	}
	defer l.Close()
	for name, text := range map[string]string{
		"clickhouse.py": clickHouseScript, "config.xml": fmt.Sprintf(clickHouseConfig, server, l.Tmp), "users.xml": fmt.Sprintf(clickHouseUsers, lab.Password),
	} {
		if err := os.WriteFile(filepath.Join(l.Tmp, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	if _, err := l.Start("db", "", "clickhouse-server", "--config-file="+filepath.Join(l.Tmp, "config.xml")); err != nil {
		return err
	}
	if err := l.Do(ctx, "client", "wait", server+":9000"); err != nil {
		return err
	}
	return l.RecordClient(ctx, out, "clickhouse", python, filepath.Join(l.Tmp, "clickhouse.py"), server, lab.Password, filepath.Join(out, "clickhouse.said.tsv"))
}
