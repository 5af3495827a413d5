package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pcapsule/pcapsule/cli/command"
	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/cli/extract"
	"github.com/pcapsule/pcapsule/cli/format"
	"github.com/pcapsule/pcapsule/forensics"
	"github.com/pcapsule/pcapsule/forensics/ask"
	"github.com/pcapsule/pcapsule/forensics/ask/objects"
	"github.com/pcapsule/pcapsule/internal/plural"
	"github.com/pcapsule/pcapsule/internal/quote"
	"github.com/pcapsule/pcapsule/kfl/nearest"
)

type objectsFlags struct {
	queryFlags
	in      objects.In
	dir     string
	yara    string
	maxSize command.Size
	most    int
}

func (e *env) cmdObjects() *cobra.Command {
	f := objectsFlags{maxSize: 1 << 30}
	c := &cobra.Command{
		Use:   "objects BUNDLE|CAPTURE... [KFL]",
		Short: "List files seen in transfer, and write them to a folder",
		Long: `List the files that HTTP, FTP, SMB, NFS and mail carried: name, type, size, SHA-256, and the call. The last
argument may be a KFL filter for the calls; docs/format/objects.md explains which bodies count as files.

With --extract the files are written to a new folder under safe names, never executable, with a
manifest. They may be malicious.`,
		Example: `  pcapsule objects incident.pcapsule
  pcapsule objects incident.pcapsule 'dst.service == "upload"' --type application/zip
  pcapsule objects incident.pcapsule --columns sha256,size,name --format csv
  pcapsule objects incident.pcapsule --name '*.exe' --extract files
  pcapsule objects incident.pcapsule --yara rules.yar`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeKFL,
		RunE:              func(c *cobra.Command, args []string) error { return e.runObjects(c, args, &f) },
	}
	f.flags(e, c, format.OfRows())
	f.window.flags(c)
	fl := c.Flags()
	fl.StringSliceVar(&f.columns, "columns", nil, "columns of table objects to show, in this order; also src, dst, direction")
	fl.StringVar(&f.in.Name, "name", "", "only files with this name; * matches any text")
	fl.StringVar(&f.in.Type, "type", "", "only files of this type, detected or declared; * matches any text")
	fl.StringVar(&f.in.SHA256, "sha256", "", "only files with this SHA-256")
	fl.StringVar(&f.in.Direction, "direction", "", "upload or download")
	fl.StringVar(&f.dir, "extract", "", "new folder to which the files are written")
	fl.StringVar(&f.yara, "yara", "", "list the files that match rules in this file; needs the program yara or yr, which runs confined")
	fl.Var(&f.maxSize, "max-size", "with --extract and --yara: maximum size of all files together")
	fl.IntVar(&f.most, "most", 1000, "with --extract and --yara: maximum number of files")
	command.Between(fl, "max-size", &f.maxSize, 1, command.Largest)
	command.Between(fl, "most", &f.most, 1, command.Most)
	completes(c, "direction", directions()...)
	return c
}

// directions are the values of the flag --direction.
func directions() []string { return ask.Allowed(objects.Question().In.Properties["direction"]) }

// peopleObjects are the columns that a table of objects shows by default.
var peopleObjects = []string{"call_no", "ts_ns", "name", "size", "detected_type", "src", "dst", "direction", "protocol", "complete", "sha256"}

func (e *env) runObjects(c *cobra.Command, args []string, f *objectsFlags) error {
	args, filter, err := splitFilter(args)
	if err != nil {
		return err
	}
	f.in.KFL = filter
	q := forensics.Query{}
	if err := f.check(&q); err != nil {
		return err
	}
	if f.in.Direction != "" && !slices.Contains(directions(), f.in.Direction) {
		return command.OneOf("--direction", f.in.Direction, directions())
	}
	if f.dir != "" {
		if err := e.mayExtract(f); err != nil {
			return err
		}
	}
	var with *scanner
	if f.yara != "" {
		if with, err = e.mayScan(f); err != nil {
			return err
		}
	}
	ctx, cs, end, err := e.caseWithin(c, args)
	if err != nil {
		return err
	}
	defer end()
	if f.dir != "" {
		return e.extractObjects(ctx, cs, f)
	}
	columns := f.columns
	if len(columns) == 0 {
		if columns = []string{"*"}; f.format == "table" {
			columns = peopleObjects
		}
	}
	if err := knownColumns(cs, columns); err != nil {
		return err
	}
	if with != nil {
		return e.scanObjects(ctx, cs, f, with, columns)
	}
	if q, err = f.query(ctx, cs, columns); err != nil {
		return e.questionError(err)
	}
	people := f.format == "table"
	if q.Limit = f.limit; people && q.Limit == 0 {
		q.Limit = tableRows + 1
	}
	out, err := format.NewRows(f.format, &e.Streams)
	if err != nil {
		return err
	}
	shown := 0
	res, err := cs.Each(ctx, q, out.Begin, func(cols []forensics.Column, row []any) error {
		if shown++; people && f.limit == 0 && shown > tableRows {
			return nil
		}
		return out.Row(cols, row)
	})
	if err != nil {
		return e.questionError(err)
	}
	if err := out.End(); err != nil {
		return err
	}
	if people || shown == 0 {
		e.afterTable(ctx, cs, res, shown, people && f.limit == 0)
	}
	return nil
}

// knownColumns refuses columns that objects do not have.
func knownColumns(cs *forensics.Case, columns []string) error {
	known := []string{"*", "src", "dst", "direction"}
	tables, err := cs.Tables()
	if err != nil {
		return err
	}
	for _, t := range tables {
		if t.Name == "objects" {
			for _, col := range t.Columns {
				known = append(known, col.Name)
			}
		}
	}
	for _, name := range columns {
		if !slices.Contains(known, name) {
			return exit.With(fmt.Errorf("table objects has no column %q", name), exit.Usage, nearest.Hint(name, known))
		}
	}
	return nil
}

// query is the SQL for the chosen objects.
func (f *objectsFlags) query(ctx context.Context, cs *forensics.Case, columns []string) (forensics.Query, error) {
	f.in.From, f.in.To = f.from, f.to
	w, err := f.in.Scope.Read(ctx, cs)
	if err != nil {
		return forensics.Query{}, flagError(err)
	}
	sql, args, err := objects.Source(cs, w, f.in)
	if err != nil {
		return forensics.Query{}, flagError(err)
	}
	var quoted []string
	for _, name := range columns {
		if name != "*" {
			name = quote.Ident(name)
		}
		quoted = append(quoted, name)
	}
	return forensics.Query{SQL: "SELECT " + strings.Join(quoted, ", ") + " FROM (" + sql + ") ORDER BY ts_ns, call_no, object_id", Args: args, Named: true}, nil
}

// mayExtract refuses flags and places that extracting cannot use.
func (e *env) mayExtract(f *objectsFlags) error {
	switch {
	case e.mask != "":
		return exit.Usagef("--extract writes files as they were sent: leave out --mask")
	case len(f.columns) > 0 || f.format != "table" || f.limit > 0:
		return exit.Usagef("--columns, --format and --limit are for lists: leave out --extract, or use --most")
	}
	return exit.NewOutput(f.dir)
}

// stored is where the bytes of a file are.
type stored struct {
	entry    extract.Entry
	bundle   int
	body     string
	from, n  int64
	transfer string
}

func (e *env) extractObjects(ctx context.Context, cs *forensics.Case, f *objectsFlags) error {
	list, err := f.stored(ctx, cs)
	if err != nil {
		return e.questionError(err)
	}
	folder, err := extract.New(f.dir, extract.Limits{Bytes: int64(f.maxSize), Files: f.most})
	if err != nil {
		return exit.OutputError(err, f.dir)
	}
	err = writeObjects(ctx, cs, folder, list)
	if err = errors.Join(err, folder.Close()); err != nil {
		return exit.OutputError(err, f.dir)
	}
	fmt.Fprintf(e.Out, "%s with %s in %s; %s lists them\n", plural.Count(int64(folder.Files), "file", "files"), plural.Count(folder.Bytes, "byte", "bytes"), f.dir, extract.Manifest)
	for _, why := range slices.Sorted(maps.Keys(folder.Left)) {
		e.Warn("%s not written: %s", plural.Count(int64(folder.Left[why]), "file was", "files were"), whyNot[why])
	}
	if folder.Left["most"]+folder.Left["max_size"] > 0 {
		return exit.With(errors.New("some files were not written"), exit.Limit, "raise --most or --max-size, or select fewer files")
	}
	return nil
}

// whyNot explains the values of skipped in the manifest.
var whyNot = map[string]string{"most": "--most is reached", "max_size": "--max-size is reached", "too_large": "their bodies were too large to keep, so only the packets have them",
	"not_found": "their bodies are not in the bundle", "damaged": "their bytes do not have the hash of their row"}

// stored lists the chosen files.
func (f *objectsFlags) stored(ctx context.Context, cs *forensics.Case) (list []stored, err error) {
	columns := []string{"name", "sha256", "size", "detected_type", "content_type", "object_id", "call_id", "protocol", "ts_ns", "complete", "why", "body_sha256", "body_offset", "body_size", "transfer_encoding"}
	if cs.Several() {
		columns = append(columns, "bundle")
	}
	q, err := f.query(ctx, cs, columns)
	if err != nil {
		return nil, err
	}
	_, err = cs.Each(ctx, q, func([]forensics.Column) error { return nil }, func(_ []forensics.Column, row []any) error {
		hex := func(i int) string { b, _ := row[i].([]byte); return fmt.Sprintf("%x", b) }
		text := func(i int) string { s, _ := row[i].(string); return s }
		complete, _ := row[9].(bool)
		s := stored{body: hex(11), from: format.Number(row[12]), n: format.Number(row[13]), transfer: text(14), entry: extract.Entry{Name: text(0), SHA256: hex(1), Size: format.Number(row[2]), Type: text(3),
			Declared: text(4), ObjectID: hex(5), CallID: hex(6), Protocol: text(7), Time: time.Unix(0, format.Number(row[8])).UTC().Format(time.RFC3339Nano), Complete: complete, Why: text(10)}}
		if cs.Several() {
			s.bundle = int(format.Number(row[15]))
		}
		list = append(list, s)
		return nil
	})
	return list, err
}

// writeObjects writes files. Those of one body follow each other, so that it is read once.
func writeObjects(ctx context.Context, cs *forensics.Case, folder *extract.Folder, list []stored) error {
	var body *forensics.Body
	last := stored{}
	for i := range list {
		s := &list[i]
		if s.body == "" {
			if err := folder.Skip(s.entry, "too_large"); err != nil {
				return err
			}
			continue
		}
		if why := folder.Full(s.entry.Size); why != "" {
			if err := folder.Skip(s.entry, why); err != nil {
				return err
			}
			continue
		}
		if s.body != last.body || s.bundle != last.bundle {
			var err error
			if body, err = cs.StoredBody(ctx, s.bundle, s.body); err != nil {
				return err
			}
			last = *s
		}
		if body == nil || s.from < 0 || s.n < 0 || s.from+s.n > int64(len(body.Data)) {
			if err := folder.Skip(s.entry, "not_found"); err != nil {
				return err
			}
			continue
		}
		if err := folder.Add(s.entry, s.transfer, bytes.NewReader(body.Data[s.from:s.from+s.n])); err != nil {
			return err
		}
	}
	return nil
}
