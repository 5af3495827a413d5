// Package lake registers the tables of many bundles as Apache Iceberg tables, so that one query of
// Spark, Trino or DuckDB covers all of them.
//
// The lake only lists a bundle's Parquet files, which are not copied or changed. All tables of a
// bundle change in one transaction of the catalog's database, so a bundle is in the lake completely
// or not at all. A file is listed only after it was read and compared with its bundle's manifest.
// Nothing here removes or alters a file of a bundle.
package lake

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	sqlcat "github.com/apache/iceberg-go/catalog/sql"
	iceio "github.com/apache/iceberg-go/io"
	_ "github.com/apache/iceberg-go/io/gocloud/s3" // s3://
	"github.com/apache/iceberg-go/table"
	_ "github.com/lib/pq" // postgres://
	_ "modernc.org/sqlite"
)

// CatalogName is the name of the lake in the tables of the catalog's database. Engines must use the same.
const CatalogName = "pcapsule"

// Errors of a lake.
var (
	ErrConfig   = errors.New("not a lake")
	ErrNone     = errors.New("the lake has no such bundle")
	ErrHeld     = errors.New("the bundle must be kept")
	ErrConflict = errors.New("other writers changed the lake at the same time")
	ErrScheme   = errors.New("engines cannot read this store")
	ErrRemoved  = errors.New("rows of the bundle were removed")
	ErrClock    = errors.New("clocks differ")
)

// Config locates a lake.
type Config struct {
	Catalog   string // postgres://USER@HOST/DATABASE or sqlite:///FILE
	Warehouse string // s3://BUCKET/PREFIX or file:///FOLDER; needed for a new lake only
	Namespace string // of the tables; default pcapsule
}

// Lake is an open lake. It is not safe for concurrent use.
type Lake struct {
	cat       catalog.Catalog
	db        *sql.DB
	dialect   sqlcat.SupportedDialect
	namespace string
	props     iceberg.Properties

	step func(string) error // of tests: called between the steps of a change
	now  func() time.Time
}

var plainName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// Open opens a lake, and makes one if Warehouse is set and there is none.
func Open(ctx context.Context, c Config) (*Lake, error) {
	if c.Namespace == "" {
		c.Namespace = CatalogName
	}
	if !plainName.MatchString(c.Namespace) {
		return nil, fmt.Errorf("namespace %q is %w: must be lower-case letters, digits and _", c.Namespace, ErrConfig)
	}
	driver, source, dialect, err := database(c.Catalog)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		return nil, fmt.Errorf("opening catalog: %w", err)
	}
	l := &Lake{db: db, dialect: dialect, namespace: c.Namespace, props: storeProps(), step: func(string) error { return nil }, now: time.Now}
	if err := l.open(ctx, c); err != nil {
		db.Close()
		return nil, err
	}
	return l, nil
}

func (l *Lake) open(ctx context.Context, c Config) error {
	if err := l.db.PingContext(ctx); err != nil {
		return fmt.Errorf("opening catalog: %w", err)
	}
	// catalog/sql makes its two tables if they are missing.
	cat, err := sqlcat.NewCatalog(CatalogName, l.db, l.dialect, l.props)
	if err != nil {
		return fmt.Errorf("opening catalog: %w", err)
	}
	l.cat = cat
	at := table.Identifier{l.namespace}
	there, err := cat.CheckNamespaceExists(ctx, at)
	if err != nil {
		return fmt.Errorf("opening catalog: %w", err)
	}
	warehouse := strings.TrimRight(c.Warehouse, "/")
	if !there {
		if warehouse == "" {
			return fmt.Errorf("%w: the catalog has no namespace %s; give the place for a new lake's metadata with --warehouse", ErrConfig, l.namespace)
		}
		if err := checkPlace(warehouse); err != nil {
			return err
		}
		err := cat.CreateNamespace(ctx, at, iceberg.Properties{"location": warehouse + "/" + l.namespace})
		if err != nil && !errors.Is(err, catalog.ErrNamespaceAlreadyExists) {
			return fmt.Errorf("making namespace %s: %w", l.namespace, err)
		}
	}
	props, err := cat.LoadNamespaceProperties(ctx, at)
	if err != nil {
		return fmt.Errorf("opening catalog: %w", err)
	}
	if have := props["location"]; warehouse != "" && have != warehouse+"/"+l.namespace {
		return fmt.Errorf("%w at %s: its metadata is at %s", ErrConfig, warehouse, have)
	}
	return nil
}

// Close closes the catalog.
func (l *Lake) Close() error { return l.db.Close() }

// database divides the address of a catalog.
func database(address string) (driver, source string, d sqlcat.SupportedDialect, err error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", "", "", fmt.Errorf("catalog: %w: must be postgres://USER@HOST/DATABASE or sqlite:///FILE", ErrConfig)
	}
	switch u.Scheme {
	case "postgres", "postgresql":
		if _, has := u.User.Password(); has {
			return "", "", "", fmt.Errorf("catalog %s: %w: a password does not belong in it; set PGPASSWORD or use a password file", u.Redacted(), ErrConfig)
		}
		return "postgres", address, sqlcat.Postgres, nil
	case "sqlite":
		if u.Host != "" || u.Path == "" || u.RawQuery != "" {
			return "", "", "", fmt.Errorf("catalog %q: %w: must be sqlite:///FILE with the whole path", address, ErrConfig)
		}
		file := url.URL{Scheme: "file", Opaque: (&url.URL{Path: u.Path}).EscapedPath()}
		file.RawQuery = "_pragma=busy_timeout(20000)&_pragma=synchronous(full)&_txlock=immediate"
		return "sqlite", file.String(), sqlcat.SQLite, nil
	}
	return "", "", "", fmt.Errorf("catalog %q: %w: must be postgres://USER@HOST/DATABASE or sqlite:///FILE", u.Redacted(), ErrConfig)
}

// checkPlace checks the address of a warehouse or a bundle's store, which engines must be able to read.
func checkPlace(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil, u.User != nil, u.RawQuery != "", u.Fragment != "":
		return fmt.Errorf("%q: %w: must be s3://BUCKET/PREFIX or file:///FOLDER without parameters", address, ErrConfig)
	case u.Scheme == "s3" && u.Host != "", u.Scheme == "file" && u.Host == "" && len(u.Path) > 1:
	default:
		return fmt.Errorf("%q: %w: must be s3://BUCKET/PREFIX or file:///FOLDER", address, ErrScheme)
	}
	if slices.ContainsFunc(strings.Split(u.Path, "/"), func(s string) bool { return s == ".." || s == "." }) {
		return fmt.Errorf("%q: %w: its path has %q", address, ErrConfig, "..")
	}
	return nil
}

// storeProps are the settings of the S3 client. Credentials come from where the AWS programs find them.
func storeProps() iceberg.Properties {
	p := iceberg.Properties{}
	for _, name := range []string{"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"} {
		if v := os.Getenv(name); v != "" && p[iceio.S3EndpointURL] == "" {
			p[iceio.S3EndpointURL] = v
		}
	}
	return p
}

// ident is a table's name in the catalog.
func (l *Lake) ident(name string) table.Identifier { return table.Identifier{l.namespace, name} }

// names lists the lake's tables, sorted.
func (l *Lake) names(ctx context.Context) (list []string, err error) {
	for id, err := range l.cat.ListTables(ctx, table.Identifier{l.namespace}) {
		if err != nil {
			return nil, fmt.Errorf("listing tables: %w", err)
		}
		list = append(list, id[len(id)-1])
	}
	slices.Sort(list)
	return list, nil
}

// load loads a table as it is now.
func (l *Lake) load(ctx context.Context, name string) (*table.Table, error) {
	t, err := l.cat.LoadTable(ctx, l.ident(name))
	if err != nil {
		return nil, fmt.Errorf("loading table %s: %w", name, err)
	}
	return t, nil
}
