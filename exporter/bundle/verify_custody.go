package bundle

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// VerifyCustody checks the chain of the custody log of the bundle at path, checks that the log
// belongs to the bundle's tagmanifest, and reads the seals. It hashes no file that the manifests
// list.
func VerifyCustody(ctx context.Context, path string) (*Report, error) {
	return verifyBy(ctx, path, nil, (*verifier).custodyOnly)
}

func (v *verifier) custodyOnly() error {
	there, err := v.walk()
	if err != nil {
		return err
	}
	v.lists(there)
	v.custody()
	return v.custodyFiles(there)
}

func (v *verifier) custody() {
	if v.reported(custodyName) {
		return
	}
	data, err := readAll(v.src, custodyName, maxCustody)
	if errors.Is(err, fs.ErrNotExist) {
		v.report.add(custodyName, Missing, "", "")
		return
	}
	var c chain
	if err == nil {
		c, err = parseCustody(data)
	}
	v.report.Custody = append(v.report.Custody, c.entries...)
	v.report.CustodyHead, v.report.CustodyLines = c.head, c.lines
	if err != nil {
		v.report.add(custodyName, Chain, "", err.Error())
	}
	if len(c.entries) > 0 && *c.entries[0].TagManifest != v.report.TagManifest {
		v.report.add(tagManifestName, Changed, c.entries[0].TagManifest.String()+" by the custody log", v.report.TagManifest.String())
	}
}

// custodyFiles reads the signatures and time stamps in custody/. Files beyond the limit in
// number are refused.
func (v *verifier) custodyFiles(there map[string]int64) error {
	v.report.CustodyFiles = map[string][]byte{}
	for _, rel := range slices.Sorted(maps.Keys(there)) {
		if !strings.HasPrefix(rel, custodyDir) || rel == custodyName {
			continue
		}
		if len(v.report.CustodyFiles) >= maxSignatures {
			v.report.add(rel, Refused, fmt.Sprintf("at most %d files beside the log", maxSignatures), "")
			continue
		}
		data, err := readAll(v.src, rel, maxSignature)
		if err != nil {
			return err
		}
		v.report.CustodyFiles[rel] = data
	}
	return nil
}
