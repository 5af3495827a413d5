package offer

import "net/netip"

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
func WriteOwners(dir string, o *Owners) error { return write(dir, ownersName, o) }

// ReadOwners reads them; a folder without the file has none.
func ReadOwners(dir string) (*Owners, error) {
	var o Owners
	if err := read(dir, ownersName, "whose the addresses were", maxOwners, &o); err != nil {
		return nil, err
	}
	return &o, nil
}
