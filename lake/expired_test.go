package lake

import (
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/pcapsule/pcapsule/store"
	"github.com/pcapsule/pcapsule/store/storetest"
)

// TestCredentialsExpire adds and removes a bundle with credentials that expire at each request. The error says
// so, the lake has the whole bundle or none, and the same again completes it.
func TestCredentialsExpire(t *testing.T) {
	server := storetest.New(t)
	p := newPlace(t)
	p.config.Warehouse = "s3://evidence/warehouse"
	address := p.pushedTo("s3://evidence/2026?use_path_style=true", made(t, "dns"))
	l := p.open()
	for bundles, change := range []func() error{
		func() error {
			_, kept, err := l.Expire(t.Context(), time.Now(), func(Bundle) bool { return true })
			if len(kept) > 0 {
				return kept[0].Err
			}
			return err
		},
		func() error {
			_, _, err := l.Add(t.Context(), address, "prod", nil)
			return err
		},
	} {
		before := 1 - bundles
		if bundles == 0 {
			add(t, l, address)
		}
		for n := 0; ; n += 1 + n/4 { // later requests are like earlier ones
			server.Fail(storetest.From(n, storetest.Refused))
			err := change()
			server.Fail(nil)
			list, err2 := l.Bundles(t.Context())
			if err2 != nil {
				t.Fatal(err2)
			}
			if err == nil {
				if n < 8 || len(list) != bundles {
					t.Errorf("%d bundles after %d requests", len(list), n)
				}
				break
			}
			if !errors.Is(err, fs.ErrPermission) && !errors.Is(store.Cause(err), fs.ErrPermission) {
				t.Errorf("request %d: %v", n, err)
			}
			if have, _, err := l.listed(t.Context()); err != nil || len(list) != before || len(have) != before {
				t.Errorf("request %d: %d bundles, files of %d: %v", n, len(list), len(have), err)
			}
		}
	}
	if _, err := l.Check(t.Context(), Options{Repair: true}); err != nil {
		t.Fatal(err)
	}
	clean(t, l)
}
