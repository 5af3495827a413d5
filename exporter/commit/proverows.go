package commit

import (
	"errors"
	"io"

	"github.com/pcapsule/pcapsule/exporter/bundle"
)

// ErrOrder means that the rows of a derived table are not those of the original in their order.
var ErrOrder = errors.New("the rows are in another order")

// rowRule is the rule of a changed row: the policy changed the file from which it was made.
const rowRule = "side_input"

// ProveRows makes the proof that the rows of a derived table come from an original one. If both
// have the same number of rows, rows correspond by number; otherwise rows were removed. It returns
// ErrOrder if neither is the case.
func ProveRows(original, derived []string, name string, seed Key) (proof []byte, t bundle.TableCommitment, err error) {
	keep, err := kept(original, derived)
	if err != nil {
		return nil, t, err
	}
	from, err := openRows(original)
	if err != nil {
		return nil, t, err
	}
	defer from.close()
	to, err := openRows(derived)
	if err != nil {
		return nil, t, err
	}
	defer to.close()
	proof, n, root, err := prove(from, to, seed.Table(name), func(i int64) bool { return keep[i] }, func(int64) string { return rowRule })
	return proof, bundle.TableCommitment{Table: name, Rows: n, Root: root}, err
}

// kept says which rows of the original the derived table has.
func kept(original, derived []string) ([]bool, error) {
	was, err := leaves(original)
	if err != nil {
		return nil, err
	}
	now, err := leaves(derived)
	if err != nil {
		return nil, err
	}
	keep := make([]bool, len(was))
	same := len(was) == len(now)
	for i, h := range was {
		if keep[i] = same || len(now) > 0 && now[0] == h; keep[i] {
			now = now[1:]
		}
	}
	if len(now) > 0 {
		return nil, ErrOrder
	}
	return keep, nil
}

// leaves are the leaves of a table without a secret, for comparison.
func leaves(files []string) (list []Hash, err error) {
	x, err := openRows(files)
	if err != nil {
		return nil, err
	}
	defer x.close()
	h := newHasher()
	for {
		err := x.next()
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return nil, err
		}
		list = append(list, h.of(Key{}, x))
	}
}

// VerifyRows checks a proof against the rows of a derived table and a signed commitment. An error
// means that the proof is wrong.
func VerifyRows(proof string, derived []string, want bundle.TableCommitment) (Counts, error) {
	to, err := openRows(derived)
	if err != nil {
		return Counts{}, err
	}
	defer to.close()
	return verify(proof, to, want.Rows, want.Root)
}
