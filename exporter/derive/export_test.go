package derive

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/pcapsule/pcapsule/exporter/bundle"
	"github.com/pcapsule/pcapsule/exporter/internal/parts"
	"github.com/pcapsule/pcapsule/exporter/table"
)

// Stored is stored.
func Stored(coding string, size int) ([]byte, bool) { return stored(coding, size) }

// Find returns the first place in the tables of a bundle where a text is.
func Find(ctx context.Context, b *bundle.Bundle, text string) (place string) {
	var mu sync.Mutex
	err := walkTables(ctx, bundle.TableParts(b.Payload(), b.Path), func(name string) func(*row) error {
		return func(r *row) error {
			for i, v := range r.values {
				s := fmt.Sprintf("%s", v)
				if strings.Contains(s, text) {
					mu.Lock()
					place = name + ", column " + r.names[i] + ": " + s
					mu.Unlock()
				}
			}
			return nil
		}
	})
	if err != nil {
		return err.Error()
	}
	return place
}

// Columns lists the values of some columns of a table, whatever its parts are, sorted.
func Columns(ctx context.Context, b *bundle.Bundle, name string, columns ...string) (list []string, err error) {
	for part, files := range bundle.TableParts(b.Payload(), b.Path) {
		if part != name && !strings.HasPrefix(part, name+"/") {
			continue
		}
		err := parts.Each(ctx, files, columns, func(v []any) error {
			list = append(list, fmt.Sprint(part, v))
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(list)
	return list, nil
}

// Texts lists texts in the calls of a bundle, each in a place where packets carry it.
func Texts(ctx context.Context, b *bundle.Bundle) (list []string) {
	var mu sync.Mutex
	seen := map[string]bool{}
	take := func(s string) {
		if s = strings.TrimSpace(s); len(s) >= 12 && len(s) <= 200 && everywhere(s) && !isBlank(s) && !seen[s] {
			seen[s] = true
			list = append(list, s)
		}
	}
	columns := map[string]bool{"path": true, "query_string": true, "host": true, "user_agent": true, "redis_command": true, "redis_reply": true,
		"postgresql_query": true, "postgresql_preview": true, "grpc_request_text": true, "text": true, "http1_target": true}
	_ = walkTables(ctx, bundle.TableParts(b.Payload(), b.Path), func(name string) func(*row) error {
		return func(r *row) error {
			mu.Lock()
			defer mu.Unlock()
			for i, v := range r.values {
				switch v := v.(type) {
				case string:
					if columns[r.names[i]] {
						for part := range strings.FieldsSeq(v) {
							take(part)
						}
					}
				case []table.Header:
					for _, h := range v {
						take(h.Value)
					}
				}
			}
			return nil
		}
	})
	slices.Sort(list)
	return list
}
