package bundle

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/pcapsule/pcapsule/exporter/bundle/sha"
)

// ThisProgram is the digest of the running program's file, or nil if it cannot be read. Only the first call reads the file,
// and only the first process after the file changed: hashing takes 0.1 s, longer than a small bundle, so the digest is
// remembered in the user's cache.
var ThisProgram = sync.OnceValue(func() *Digest {
	file, err := "/proc/self/exe", error(nil) // this program, even if another file has its name by now
	if runtime.GOOS != "linux" {
		file, err = os.Executable()
	}
	if err != nil {
		return nil
	}
	record := ""
	if cache, err := os.UserCacheDir(); err == nil {
		record = filepath.Join(cache, "pcapsule", "program")
	}
	sum, err := programDigest(file, record)
	if err != nil {
		return nil
	}
	return &sum
})

// settled is how long ago a file must have changed for its times to prove that it did not change since: another
// change in the same tick of the file system's clock has the same time.
const settled = 5 * time.Second

// programDigest is the digest of a program's file: from the record, if that describes this very file, else from its bytes,
// and then it writes the record. An empty record is none.
func programDigest(file, record string) (Digest, error) {
	state, changed, err := fileState(file)
	if err != nil {
		return Digest{}, err
	}
	if sum, ok := recorded(record, state); ok {
		return sum, nil
	}
	sum, err := hashFile(file, sha.New())
	if err != nil || record == "" || state == "" || time.Since(changed) < settled {
		return sum, err
	}
	if again, _, err := fileState(file); err != nil || again != state {
		return sum, nil
	}
	remember(record, state+" "+sum.String()+"\n")
	return sum, nil
}

// recorded is the digest in a record that only this user can have written.
func recorded(record, state string) (sum Digest, ok bool) {
	if record == "" || state == "" || !private(record) {
		return sum, false
	}
	text, err := os.ReadFile(record)
	if err != nil {
		return sum, false
	}
	digest, ok := strings.CutPrefix(strings.TrimSuffix(string(text), "\n"), state+" ")
	if !ok || len(digest) != hex.EncodedLen(len(sum)) {
		return sum, false
	}
	_, err = hex.Decode(sum[:], []byte(digest))
	return sum, err == nil
}

// remember replaces the record. A cache that cannot be written is no error: the next process hashes again.
func remember(record, text string) {
	if os.MkdirAll(filepath.Dir(record), 0o700) != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(record), "program-*")
	if err != nil {
		return
	}
	_, err = fmt.Fprint(f, text)
	if f.Close() != nil || err != nil || os.Rename(f.Name(), record) != nil {
		_ = os.Remove(f.Name())
	}
}
