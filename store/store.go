// Package store keeps bundles in object storage or on a volume: S3 and compatible services, Azure
// Blob Storage, folders.
//
// A bundle named NAME in a store is the objects PREFIX/NAME/…, one for each of its files, with the
// same bytes. Its tag manifest is written last: without it there is no bundle, so an interrupted
// push is never mistaken for one. A bundle in a store is never changed, except that its custody log
// grows.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/fileblob"  // file://
	_ "gocloud.dev/blob/s3blob"    // s3://
	"gocloud.dev/gcerrors"
)

// Names of objects below that of a bundle.
const (
	tagManifest = "tagmanifest-sha256.txt" // the last one that is written
	manifest    = "manifest-sha256.txt"
	bundleJSON  = "data/bundle.json"
	custody     = "custody/"
	custodyLog  = "custody/log.jsonl"
)

// marker is the object of a push that is not finished, next to the bundle's folder. It has the
// SHA-256 of the tag manifest that the push will write.
const marker = ".pushing"

// Extension ends the name of each bundle in a store.
const Extension = ".pcapsule"

// hashKey is the name under which an object's metadata has its SHA-256.
const hashKey = "sha256"

// maxTag is the largest size of a file that is read as a whole, as in package bundle.
const maxTag = 256 << 20

// Errors of a store.
var (
	ErrAddress     = errors.New("not the address of a store")
	ErrNone        = errors.New("there is no such bundle in the store")
	ErrTaken       = errors.New("the store has another bundle of this name")
	ErrRegion      = errors.New("no region is set")
	ErrCredentials = errors.New("no usable credentials were found")
	ErrUnreachable = errors.New("the server cannot be reached")
	ErrBusy        = errors.New("another bundle of this name is being pushed, or its push was interrupted")
)

// IsAddress reports whether a word of a command line is the address of a store and not a file's name.
func IsAddress(s string) bool {
	scheme, _, ok := strings.Cut(s, "://")
	return ok && slices.Contains(schemes, scheme)
}

var schemes = []string{"s3", "gs", "azblob", "file"}

// googleEndpoint serves Google Cloud Storage by S3's protocol, with HMAC keys.
const googleEndpoint = "https://storage.googleapis.com"

// Store is a place for bundles: a bucket, or the objects of a bucket that begin with a prefix.
type Store struct {
	Address string // without parameters

	bucket *blob.Bucket
}

// Open opens the store at an address: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, azblob://CONTAINER/PREFIX
// or file:///FOLDER. Parameters such as ?endpoint=http://127.0.0.1:7070&use_path_style=true are those of
// gocloud.dev; credentials come from where the provider's own programs find them. It connects only on
// first use, and never creates a folder. It returns an error that wraps ErrAddress for an address that
// cannot be one.
func Open(ctx context.Context, address string) (*Store, error) { return open(ctx, address, false) }

// Create is Open for a store that gets a bundle: it creates a folder that does not exist.
func Create(ctx context.Context, address string) (*Store, error) { return open(ctx, address, true) }

func open(ctx context.Context, address string, create bool) (*Store, error) {
	u, err := url.Parse(address)
	if err != nil || !IsAddress(address) {
		return nil, fmt.Errorf("%q is %w: use s3://BUCKET/PREFIX, gs://, azblob:// or file:///FOLDER", address, ErrAddress)
	}
	if u.User != nil {
		return nil, fmt.Errorf("%q is %w: credentials do not belong in it", u.Redacted(), ErrAddress)
	}
	prefix := strings.Trim(u.Path, "/")
	if slices.ContainsFunc(strings.Split(prefix, "/"), func(s string) bool { return s == ".." || s == "." }) {
		return nil, fmt.Errorf("%q is %w: its path has %q", address, ErrAddress, "..")
	}
	s := &Store{Address: u.Scheme + "://" + u.Host + strings.TrimSuffix(u.Path, "/")}
	q := u.Query()
	switch u.Scheme {
	case "file":
		if u.Host != "" && u.Host != "localhost" && u.Host != "." {
			return nil, fmt.Errorf("%q is %w: %s is a host there; a folder is file:///FOLDER, with 3 slashes", address, ErrAddress, u.Host)
		}
		q.Set("no_tmp_dir", "true") // a rename needs the same volume
		q.Del("create_dir")
		if create {
			q.Set("create_dir", "true")
		}
		q.Set("metadata", "skip") // else it has a file for each object
		prefix = ""
	case "gs":
		// An S3 client would add checksums that this endpoint refuses.
		q.Set("endpoint", googleEndpoint)
		q.Set("request_checksum_calculation", "when_required")
		if !q.Has("region") {
			q.Set("region", "auto")
		}
		u.Scheme = "s3"
	}
	if u.Scheme == "s3" && !q.Has("response_checksum_validation") {
		// Our own hashes cover everything that is read. Without this, the library prints a warning for each
		// answer without a checksum.
		q.Set("response_checksum_validation", "when_required")
	}
	if u.Scheme != "file" {
		if u.Host == "" {
			return nil, fmt.Errorf("%q is %w: it names no bucket", address, ErrAddress)
		}
		u.Path = ""
	}
	u.RawQuery = q.Encode()
	if s.bucket, err = blob.OpenBucket(ctx, u.String()); err != nil {
		var at *fs.PathError
		if errors.As(err, &at) {
			return nil, fmt.Errorf("opening store %s: %w", s.Address, at)
		}
		if cause := Cause(err); cause != nil {
			return nil, fmt.Errorf("opening store %s: %w", s.Address, cause)
		}
		return nil, fmt.Errorf("opening store %s: %w: %w", s.Address, ErrAddress, err)
	}
	if prefix != "" {
		s.bucket = blob.PrefixedBucket(s.bucket, prefix+"/")
	}
	return s, nil
}

// OpenBundle opens the store that has the bundle at an address, and returns the bundle's name.
func OpenBundle(ctx context.Context, address string) (s *Store, name string, err error) {
	before, query, _ := strings.Cut(address, "?")
	before = strings.TrimRight(before, "/")
	at := strings.LastIndexByte(before, '/')
	if !IsAddress(address) || at < strings.Index(before, "://")+len("://") {
		return nil, "", fmt.Errorf("%q is %w with a bundle: use s3://BUCKET/PREFIX/NAME.pcapsule", address, ErrAddress)
	}
	name, err = url.PathUnescape(before[at+1:])
	if err != nil || !plainName(name) {
		return nil, "", fmt.Errorf("%q is %w with a bundle: %q does not end with %s", address, ErrAddress, before[at+1:], Extension)
	}
	s, err = Open(ctx, before[:at]+"?"+query)
	return s, name, err
}

// plainName reports whether a bundle can have this name in every store and system.
func plainName(name string) bool {
	return len(name) > len(Extension) && strings.HasSuffix(name, Extension) && !strings.HasPrefix(name, ".") && !strings.ContainsAny(name, "/\\:*?\"<>|") && strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0 && len(name) <= 200
}

// Close closes the connection.
func (s *Store) Close() error { return s.bucket.Close() }

// Entry is a bundle in a store.
type Entry struct {
	Name   string    `json:"name"` // with slashes if it is deeper in the store
	Files  int64     `json:"files"`
	Bytes  int64     `json:"bytes"`
	Pushed time.Time `json:"pushed"` // when its tag manifest was written, by the store's clock
	Whole  bool      `json:"whole"`  // false: its push is not finished
}

// List lists the bundles of the store, sorted by name, and pushes that are not finished.
func (s *Store) List(ctx context.Context) ([]Entry, error) {
	list := map[string]*Entry{}
	at := func(name string) *Entry {
		if list[name] == nil {
			list[name] = &Entry{Name: name}
		}
		return list[name]
	}
	for i := s.bucket.List(nil); ; {
		o, err := i.Next(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, s.failed("listing", "", err)
		}
		if name, ok := strings.CutSuffix(o.Key, marker); ok {
			at(name)
			continue
		}
		name, rel := split(o.Key)
		if name == "" {
			continue
		}
		e := at(name)
		e.Files++
		e.Bytes += o.Size
		if rel == tagManifest {
			e.Pushed, e.Whole = o.ModTime.UTC(), true
		}
	}
	out := []Entry{}
	for _, e := range list {
		out = append(out, *e)
	}
	slices.SortFunc(out, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// split divides an object's key into the name of its bundle, the first folder whose name has Extension,
// and that of the file.
func split(key string) (name, rel string) {
	at := strings.Index(key, Extension+"/")
	if at < 0 {
		return "", ""
	}
	at += len(Extension)
	return key[:at], key[at+1:]
}

// refusals are the codes of S3 for credentials that are wrong, have expired, or do not allow it.
var refusals = []string{"AccessDenied", "ExpiredToken", "InvalidToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "TokenRefreshRequired"}

// Cause classifies an error of a provider's library: fs.ErrNotExist, fs.ErrPermission, ErrUnreachable, ErrRegion
// or ErrCredentials, with the provider's text if it adds something. It returns nil for other errors.
func Cause(err error) error {
	var host *net.DNSError
	var dial *net.OpError
	var answer interface{ ErrorCode() string } // of S3
	switch {
	case errors.As(err, &host):
		return fmt.Errorf("%w: %s: %s", ErrUnreachable, host.Name, host.Err)
	case errors.As(err, &dial) && dial.Op == "dial":
		return fmt.Errorf("%w: %w", ErrUnreachable, dial)
	case gcerrors.Code(err) == gcerrors.NotFound:
		return fs.ErrNotExist
	case errors.As(err, &answer) && slices.Contains(refusals, answer.ErrorCode()):
		return fmt.Errorf("%w: the store answers %s", fs.ErrPermission, answer.ErrorCode())
	case gcerrors.Code(err) == gcerrors.PermissionDenied:
		return fs.ErrPermission
	}
	switch text := err.Error(); { // the provider's library has no types for these
	case strings.Contains(text, "Invalid region"), strings.Contains(text, "Missing Region"):
		return ErrRegion
	case strings.Contains(text, "get credentials:"), strings.Contains(text, "AccountName is required"), strings.Contains(text, "DefaultAzureCredential:"),
		strings.Contains(text, "NewSharedKeyCredential"):
		return ErrCredentials
	}
	return nil
}

// failed is the error of an operation on an object. It distinguishes the causes.
func (s *Store) failed(doing, key string, err error) error {
	what := s.Address
	if key != "" {
		what += "/" + key
	}
	if cause := Cause(err); cause != nil {
		err = cause
	}
	return fmt.Errorf("%s %s: %w", doing, what, err)
}

// read reads a small object.
func (s *Store) read(ctx context.Context, key string) ([]byte, error) {
	r, err := s.bucket.NewReader(ctx, key, nil)
	if err != nil {
		return nil, s.failed("reading", key, err)
	}
	defer r.Close()
	if r.Size() > maxTag {
		return nil, fmt.Errorf("reading %s/%s: %d bytes, which is more than %d", s.Address, key, r.Size(), maxTag)
	}
	data, err := io.ReadAll(io.LimitReader(r, maxTag+1))
	if err != nil {
		return nil, s.failed("reading", key, err)
	}
	return data, nil
}

// object has the store's listing of an object.
type object struct {
	size int64
	time time.Time
	tag  string // of S3; empty: unknown
}

// objects lists the files of a bundle that are there.
func (s *Store) objects(ctx context.Context, name string) (map[string]object, error) {
	out := map[string]object{}
	for i := s.bucket.List(&blob.ListOptions{Prefix: name + "/"}); ; {
		o, err := i.Next(ctx)
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, s.failed("listing", name, err)
		}
		x := object{size: o.Size, time: o.ModTime}
		if listed := (types.Object{}); o.As(&listed) && listed.ETag != nil {
			x.tag = *listed.ETag
		}
		out[strings.TrimPrefix(o.Key, name+"/")] = x
	}
}
