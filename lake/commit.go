package lake

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	sqlcat "github.com/apache/iceberg-go/catalog/sql"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
)

// maxAttempts limits how often a change is repeated because another writer was faster.
const maxAttempts = 100

// retry makes a change, and makes it again from the tables' new state if others were faster.
func (l *Lake) retry(ctx context.Context, change func() error) error {
	if err := l.checkClock(ctx); err != nil {
		return err
	}
	for n := range maxAttempts {
		err := change()
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrConflict) && !errors.Is(err, table.ErrCommitFailed) {
			return errors.Join(l.ahead(ctx), err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(rand.IntN(min(50*(n+1), 1000))+1) * time.Millisecond):
		}
	}
	return fmt.Errorf("after %d attempts: %w; try again", maxAttempts, ErrConflict)
}

// maxSkew is how far the clocks of a writer and of the catalog's database may differ. Iceberg refuses a change
// that is more than a minute before the last one (table specification, "Snapshots"), so a writer whose clock
// is ahead would lock out all others until theirs have caught up.
const maxSkew = 30 * time.Second

// checkClock compares this machine's clock with that of the catalog's database.
func (l *Lake) checkClock(ctx context.Context) error {
	form := "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"
	if l.dialect == sqlcat.SQLite {
		form = "SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
	}
	var ms int64
	before := l.now()
	if err := l.db.QueryRowContext(ctx, form).Scan(&ms); err != nil {
		return fmt.Errorf("asking the catalog for its time: %w", err)
	}
	at, after := time.UnixMilli(ms), l.now()
	switch {
	case before.Sub(at) > maxSkew:
		return fmt.Errorf("%w: this machine's is %s ahead of the catalog's; set it", ErrClock, before.Sub(at).Round(time.Second))
	case at.Sub(after) > maxSkew:
		return fmt.Errorf("%w: this machine's is %s behind the catalog's; set it", ErrClock, at.Sub(after).Round(time.Second))
	}
	return nil
}

// ahead is an error if a table was changed at a time that is still to come.
func (l *Lake) ahead(ctx context.Context) error {
	names, err := l.names(ctx)
	if err != nil {
		return nil //nolint:nilerr // the change has an error of its own
	}
	for _, name := range names {
		t, err := l.load(ctx, name)
		if err != nil {
			continue
		}
		if at := time.UnixMilli(t.Metadata().LastUpdatedMillis()).UTC(); at.Sub(l.now()) > time.Minute {
			return fmt.Errorf("%w: another program changed table %s at %s, which is still to come; until then, the lake cannot be changed", ErrClock, name, at.Format(time.DateTime))
		}
	}
	return nil
}

// staged is a table's next metadata, written but not yet current.
type staged struct {
	name, from, to string
}

// commit makes the changes of several tables current, all or none. iceberg-go commits one table at a
// time; the tables of its SQL catalog allow one transaction over several.
func (l *Lake) commit(ctx context.Context, changes []*table.Transaction) error {
	var list []staged
	for _, tx := range changes {
		c, err := tx.TableCommit()
		if err != nil {
			return err
		}
		if len(c.Updates) == 0 {
			continue
		}
		s, err := l.stage(ctx, c)
		if err != nil {
			return fmt.Errorf("table %s: %w", c.Identifier[len(c.Identifier)-1], err)
		}
		list = append(list, s)
		if err := l.step("staged " + s.name); err != nil {
			return err
		}
	}
	// Every writer locks rows in the same order.
	slices.SortFunc(list, func(a, b staged) int { return strings.Compare(a.name, b.name) })
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("changing the catalog: %w", err)
	}
	defer tx.Rollback() // after Commit it does nothing
	for _, s := range list {
		if err := l.move(ctx, tx, s); err != nil {
			return err
		}
	}
	if err := l.step("moved"); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("changing the catalog: %w", err)
	}
	return nil
}

// stage writes the metadata file that a change leads to.
func (l *Lake) stage(ctx context.Context, c table.TableCommit) (staged, error) {
	now, err := l.cat.LoadTable(ctx, c.Identifier)
	if err != nil {
		return staged{}, err
	}
	for _, r := range c.Requirements {
		if err := r.Validate(now.Metadata()); err != nil {
			return staged{}, fmt.Errorf("%w: %w", ErrConflict, err)
		}
	}
	next, err := table.UpdateTableMetadata(now.Metadata(), c.Updates, now.MetadataLocation())
	if err != nil {
		return staged{}, err
	}
	places, err := table.LoadLocationProvider(next.Location(), next.Properties())
	if err != nil {
		return staged{}, err
	}
	to, err := places.NewTableMetadataFileLocation(version(now.MetadataLocation()) + 1)
	if err != nil {
		return staged{}, err
	}
	fs, err := now.FS(ctx)
	if err != nil {
		return staged{}, err
	}
	w, ok := fs.(iceio.WriteFileIO)
	if !ok {
		return staged{}, fmt.Errorf("%s cannot be written", to)
	}
	data, err := json.Marshal(next)
	if err != nil {
		return staged{}, err
	}
	if err := w.WriteFile(to, data); err != nil {
		return staged{}, fmt.Errorf("writing %s: %w", to, err)
	}
	return staged{c.Identifier[len(c.Identifier)-1], now.MetadataLocation(), to}, nil
}

// version is the number at the beginning of the name of a metadata file, such as 00002-UUID.metadata.json.
func version(location string) int {
	number, _, _ := strings.Cut(path.Base(location), "-")
	n, err := strconv.Atoi(number)
	if err != nil {
		return 0
	}
	return n
}

// move makes a table's staged metadata current, if the table is still what it was.
func (l *Lake) move(ctx context.Context, tx *sql.Tx, s staged) error {
	form := "UPDATE iceberg_tables SET metadata_location = $1, previous_metadata_location = $2 WHERE catalog_name = $3 AND table_namespace = $4 AND table_name = $5 AND metadata_location = $2"
	if l.dialect == sqlcat.SQLite {
		form = strings.ReplaceAll(form, "$", "?")
	}
	res, err := tx.ExecContext(ctx, form, s.to, s.from, CatalogName, l.namespace, s.name)
	if err != nil {
		return fmt.Errorf("changing the catalog: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(fmt.Errorf("table %s: %w", s.name, ErrConflict), err)
	}
	return nil
}
