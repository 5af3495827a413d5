package lake

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"
)

// Columns that the lake adds to each table. They are constant in a bundle, are not in its files, and
// partition the table: readers take their values from the partition.
const (
	columnBundle  = "bundle_id"
	columnCluster = "cluster"
	columnDay     = "day"
)

// constants are the added columns. Their field ids are their places.
func constants() []iceberg.NestedField {
	return []iceberg.NestedField{
		{ID: 1, Name: columnBundle, Type: iceberg.PrimitiveTypes.String, Doc: "SHA-256 of the bundle's tag manifest; local ids count within it"},
		{ID: 2, Name: columnCluster, Type: iceberg.PrimitiveTypes.String, Doc: "name given when the bundle was added"},
		{ID: 3, Name: columnDay, Type: iceberg.PrimitiveTypes.Date, Doc: "UTC day on which the bundle begins"},
	}
}

// partitions is the partition spec of every table.
func partitions() *iceberg.PartitionSpec {
	var fields []iceberg.PartitionField
	for i, f := range constants() {
		fields = append(fields, iceberg.PartitionField{SourceIDs: []int{f.ID}, FieldID: 1000 + i, Name: f.Name, Transform: iceberg.IdentityTransform{}})
	}
	spec := iceberg.NewPartitionSpec(fields...)
	return &spec
}

// properties are those of every table. The name mapping, by which readers find columns, because the
// files have names and no field ids, comes with the first files.
func properties() iceberg.Properties {
	return iceberg.Properties{
		table.PropertyFormatVersion: "2",
		// The files belong to the bundles: no engine may delete them, even if it expires or drops
		// tables.
		table.GCEnabledKey: "false",
		// Bundles use DELTA encodings. Iceberg's vectorized reader knows them only from 1.11 on.
		"read.parquet.vectorization.enabled": "false",
		table.ManifestMergeEnabledKey:        "true",
	}
}

// schemaOf returns the lake's schema for a file's columns: all optional, after the constants. All are
// optional because a part may lack a column that others have, also a required one.
func schemaOf(columns []iceberg.NestedField) (*iceberg.Schema, error) {
	fields := constants()
	next := len(fields)
	number := func() int { next++; return next }
	for _, f := range optionalFields(columns, number) {
		for _, c := range constants() {
			if f.Name == c.Name {
				return nil, fmt.Errorf("column %s is the lake's own", f.Name)
			}
		}
		fields = append(fields, f)
	}
	return iceberg.NewSchema(0, fields...), nil
}

// optional makes a type's parts optional and numbers them.
func optional(t iceberg.Type, number func() int) iceberg.Type {
	switch t := t.(type) {
	case *iceberg.ListType:
		return &iceberg.ListType{ElementID: number(), Element: optional(t.Element, number)}
	case *iceberg.StructType:
		return &iceberg.StructType{FieldList: optionalFields(t.FieldList, number)}
	case *iceberg.MapType:
		return &iceberg.MapType{KeyID: number(), KeyType: optional(t.KeyType, number), ValueID: number(), ValueType: optional(t.ValueType, number)}
	}
	return t
}

func optionalFields(list []iceberg.NestedField, number func() int) []iceberg.NestedField {
	out := make([]iceberg.NestedField, len(list))
	for i, f := range list {
		f.ID, f.Required = number(), false
		f.Type = optional(f.Type, number)
		out[i] = f
	}
	return out
}

// ensure makes a table with the columns of sc, if there is none.
func (l *Lake) ensure(ctx context.Context, name string, sc *iceberg.Schema) (*table.Table, error) {
	t, err := l.cat.LoadTable(ctx, l.ident(name))
	if !errors.Is(err, catalog.ErrNoSuchTable) {
		return t, err
	}
	t, err = l.cat.CreateTable(ctx, l.ident(name), sc, catalog.WithPartitionSpec(partitions()), catalog.WithProperties(properties()))
	if errors.Is(err, catalog.ErrTableAlreadyExists) { // another writer was faster
		return l.load(ctx, name)
	}
	if err != nil {
		return nil, fmt.Errorf("making table %s: %w", name, err)
	}
	return t, nil
}
