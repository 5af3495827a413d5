package offer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/pcapsule/pcapsule/internal/whole"
)

// ownersName is the file, in the folder of a snapshot or of the copies, that describes them.
const ownersName = "owners.json"

// maxOwners limits its size.
const maxOwners = 128 << 20

// Owners are the addresses that pods and services of the cluster had in a time range, as the hub saw them in the API.
type Owners struct {
	Until int64   `json:"until"` // ns since 1970 UTC: they are all that anybody had before that; 0: some may be missing
	Had   []Owner `json:"had"`
}

// Owner is an address that a pod or a service had.
type Owner struct {
	Addr      netip.Addr `json:"addr"`
	Namespace string     `json:"namespace"`
}

// WriteOwners writes them into a folder.
func WriteOwners(dir string, o *Owners) error {
	text, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return whole.Replace(filepath.Join(dir, ownersName), 0o600, whole.Text(text))
}

// ReadOwners reads them; a folder without the file has none.
func ReadOwners(dir string) (*Owners, error) {
	var o Owners
	path := filepath.Join(dir, ownersName)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &o, nil
	}
	if err == nil && info.Size() > maxOwners {
		err = fmt.Errorf("%s has %d bytes, the limit is %d", path, info.Size(), maxOwners)
	}
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &o)
	}
	if err != nil {
		return nil, fmt.Errorf("reading whose the addresses were: %w", err)
	}
	return &o, nil
}
