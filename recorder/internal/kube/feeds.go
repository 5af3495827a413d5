package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/cache"
)

// Feed is the state of watching one kind of object.
type Feed struct {
	Name   string
	Synced bool      // it was listed at least once
	Stale  time.Time // time since which the API does not respond; zero if it does
	Err    string    // last error, while stale
}

// feeds track whether the API responds.
type feeds struct {
	now     func() time.Time
	onError func(error)
	onBack  func(name string, since time.Time)

	mu sync.Mutex
	by map[string]*feedState
}

type feedState struct {
	synced bool
	stale  time.Time
	err    error
}

func (f *feeds) of(name string) *feedState {
	if f.by[name] == nil {
		f.by[name] = &feedState{}
	}
	return f.by[name]
}

// record records the result of a request. It reports only the first of a series of failures.
func (f *feeds) record(ctx context.Context, name string, err error) {
	if ctx.Err() != nil {
		return
	}
	f.mu.Lock()
	x := f.of(name)
	broke := err != nil && x.stale.IsZero()
	since := x.stale
	switch {
	case err == nil:
		x.stale, x.err = time.Time{}, nil
	case broke:
		x.stale = f.now()
		fallthrough
	default:
		x.err = err
	}
	f.mu.Unlock()
	switch {
	case broke:
		f.onError(fmt.Errorf("watching %s: %w", name, err))
	case err == nil && !since.IsZero():
		f.onBack(name, since)
	}
}

func (f *feeds) listed(name string) {
	f.mu.Lock()
	f.of(name).synced = true
	f.mu.Unlock()
}

func (f *feeds) state() []Feed {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]Feed, 0, len(f.by))
	for name, x := range f.by {
		one := Feed{Name: name, Synced: x.synced, Stale: x.stale}
		if x.err != nil {
			one.Err = clean(x.err.Error(), maxMessage)
		}
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b Feed) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// keeper receives the objects of one kind. It keeps the parts it needs, but no object.
type keeper interface {
	put(obj runtime.Object)
	remove(obj runtime.Object)
	// replace receives all objects; known ones that are not among them were removed.
	replace(all []runtime.Object)
}

// with calls f with an object of its kind, with the lock held.
func with[T runtime.Object](s *Source, obj runtime.Object, f func(T)) {
	if v, ok := obj.(T); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		f(v)
	}
}

// store adapts a keeper to a reflector's store.
type store struct {
	keeper
	s    *Source
	name string
}

var errNoObject = errors.New("not an object")

func (t store) Add(obj any) error {
	o, ok := obj.(runtime.Object)
	if !ok {
		return errNoObject
	}
	t.put(o)
	return nil
}

func (t store) Update(obj any) error { return t.Add(obj) }

func (t store) Delete(obj any) error {
	o, ok := obj.(runtime.Object)
	if !ok {
		return errNoObject
	}
	t.remove(o)
	return nil
}

func (t store) Replace(list []any, _ string) error {
	all := make([]runtime.Object, 0, len(list))
	for _, obj := range list {
		if o, ok := obj.(runtime.Object); ok {
			all = append(all, o)
		}
	}
	t.replace(all)
	t.s.feeds.listed(t.name)
	return nil
}

func (t store) Resync() error { return nil }

// plainLists requests plain lists: the reflector collects a streamed list in a store of whole
// objects, which needs more memory than a page.
type plainLists struct{ *cache.ListWatch }

func (plainLists) IsWatchListSemanticsUnSupported() bool { return true }

// follow lists and watches objects of one kind until ctx ends.
func (s *Source) follow(ctx context.Context, all *sync.WaitGroup, name string, kind runtime.Object, k keeper, list cache.ListWithContextFunc, watched cache.WatchFuncWithContext) {
	lw := &cache.ListWatch{ListWithContextFunc: recorded(s, name, list), WatchFuncWithContext: recorded(s, name, watched)}
	o := cache.ReflectorOptions{Name: name}
	if s.o.backoff > 0 {
		o.Backoff = &wait.Backoff{Duration: s.o.backoff, Cap: s.o.backoff, Steps: 1, Factor: 1}
	}
	r := cache.NewReflectorWithOptions(plainLists{lw}, kind, store{k, s, name}, o)
	all.Go(func() { r.RunWithContext(ctx) })
}

// recorded records the result of each call of a list or watch function.
func recorded[O, R any](s *Source, name string, f func(context.Context, O) (R, error)) func(context.Context, O) (R, error) {
	return func(ctx context.Context, o O) (R, error) {
		r, err := f(ctx, o)
		s.feeds.record(ctx, name, err)
		return r, err
	}
}

// synced reports whether a feed was listed at least once.
func (f *feeds) synced(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.by[name] != nil && f.by[name].synced
}
