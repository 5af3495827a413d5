package web

import (
	"context"
	_ "embed" // scripts
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/pcapsule/pcapsule/samples/gen/lab"
)

var (
	//go:embed fastcgi.py
	fastCGIScript string
	//go:embed Dubbo.java
	dubboSource string
)

// makeFastCGI records nginx with php-fpm.
func makeFastCGI(ctx context.Context, out string) error {
	return lab.RecordScript(ctx, out, "fastcgi", fastCGIScript, "10.1.65", "")
}

const dubboPOM = `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>samples</groupId><artifactId>dubbo</artifactId><version>1</version><dependencies>
<dependency><groupId>org.apache.dubbo</groupId><artifactId>dubbo</artifactId><version>3.2.16</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
</dependencies></project>
`

// makeDubbo records a consumer and a provider of Dubbo.
func makeDubbo(ctx context.Context, out string) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	dir := filepath.Join(cache, "pcapsule-samples", "dubbo-3.2.16")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if jars, err := filepath.Glob(dir + "/lib/dubbo-*.jar"); err == nil && len(jars) == 0 {
		if err := os.WriteFile(dir+"/pom.xml", []byte(dubboPOM), 0o644); err != nil {
			return err
		}
		mvn := exec.CommandContext(ctx, "mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib")
		mvn.Dir = dir
		if said, err := mvn.CombinedOutput(); err != nil {
			return fmt.Errorf("fetching Dubbo: %w: %s", err, said)
		}
	}
	const server = "10.1.66.20"
	l, err := lab.New("dubbo", "", lab.At("client", "10.1.66.5"), lab.At("stock", server))
	if err != nil {
		return err
	}
	defer l.Close()
	source := filepath.Join(l.Tmp, "Dubbo.java")
	if err := os.WriteFile(source, []byte(dubboSource), 0o644); err != nil {
		return err
	}
	java := []string{"java", "-Xmx256m", "--add-opens=java.base/java.math=ALL-UNNAMED", "--add-opens=java.base/java.lang=ALL-UNNAMED", "-cp", dir + "/lib/*", source}
	if _, err := l.Start("stock", "ready", append(java, "server", server)...); err != nil {
		return err
	}
	return l.RecordClient(ctx, out, "dubbo", append(java, "client", server, filepath.Join(out, "dubbo.said.tsv"))...)
}
