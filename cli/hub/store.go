package hub

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/pcapsule/pcapsule/cli/exit"
	"github.com/pcapsule/pcapsule/store"
)

// bucket keeps copies of bundles below the address of a store. It implements control.Store.
type bucket struct{ address string }

// newBucket checks the address, without a connection.
func newBucket(ctx context.Context, address string) (*bucket, error) {
	b := &bucket{address}
	s, err := store.Open(ctx, b.at("x"))
	if err != nil && strings.HasPrefix(address, "file:") {
		return b, nil // the folder is made when it is needed
	}
	if err != nil {
		return nil, exit.With(fmt.Errorf("--store: %w", err), exit.Usage, "")
	}
	return b, s.Close()
}

// at is the address of a place, with the parameters of the store's.
func (b *bucket) at(place string) string {
	before, query, has := strings.Cut(b.address, "?")
	if before = strings.TrimRight(before, "/") + "/" + place; has {
		before += "?" + query
	}
	return before
}

// Address implements control.Store.
func (b *bucket) Address(place string) string {
	address, _, _ := strings.Cut(b.at(place), "?")
	return address
}

// Push implements control.Store. A bundle that is in the store is compared with this one.
func (b *bucket) Push(ctx context.Context, bundle, place string) error {
	s, err := store.Create(ctx, b.at(path.Dir(place)))
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = s.Push(ctx, bundle, nil)
	return err
}

// Fetch implements control.Store.
func (b *bucket) Fetch(ctx context.Context, place, bundle string) error {
	s, err := store.Open(ctx, b.at(path.Dir(place)))
	if err != nil {
		return err
	}
	defer s.Close()
	report, err := s.Fetch(ctx, path.Base(place), bundle, nil)
	if err == nil {
		err = report.Err()
	}
	return err
}
