package derive

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// maxAgain is how many files are searched while tables are made of them. They are open from the beginning,
// because they may be moved. The others are searched afterwards.
const maxAgain = 64

// again searches changed packets for values that had to be removed.
type again struct {
	files []*os.File
	lists [][]change // by file
	done  chan struct{}
	err   error
}

// searchAgain begins to search the changed packets. end ends that.
func (x *redaction) searchAgain(ctx context.Context) (end func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	a := &again{done: make(chan struct{})}
	for i := range min(len(x.src.to.Manifest.Inputs), maxAgain) {
		f, err := os.Open(x.src.to.Path(x.src.to.Manifest.Inputs[i].Path))
		if err != nil {
			cancel()
			return nil, errors.Join(err, a.close())
		}
		a.files = append(a.files, f)
	}
	go func() {
		defer close(a.done)
		for i, f := range a.files {
			list, err := pass(ctx, f, x.s.search, nil, nil, nil, x.changed[i])
			if err != nil {
				a.err = err
				return
			}
			a.lists = append(a.lists, list)
		}
	}()
	x.again = a
	return func() {
		cancel()
		<-a.done
		a.close()
	}, nil
}

func (a *again) close() (err error) {
	for _, f := range a.files {
		err = errors.Join(err, f.Close())
	}
	return err
}

// leftInPackets waits for the search, and lists the packets of a draft that still hold something.
func (x *redaction) leftInPackets(ctx context.Context, d *Draft) (left []rawLeft, err error) {
	a := x.again
	if <-a.done; a.err != nil {
		return nil, a.err
	}
	for i := range d.Manifest.Inputs {
		in := &d.Manifest.Inputs[i]
		if i == len(a.lists) {
			f, err := os.Open(d.Path(in.Path))
			if err != nil {
				return nil, err
			}
			list, err := pass(ctx, f, x.s.search, nil, nil, nil, x.changed[i])
			if err = errors.Join(err, f.Close()); err != nil {
				return nil, err
			}
			a.lists = append(a.lists, list)
		}
		if list := a.lists[i]; len(list) > 0 {
			x.left = append(x.left, fmt.Sprintf("packet %d of %s", list[0].index, in.Name))
		}
		for _, l := range a.lists[i] {
			left = append(left, rawLeft{in.FileID, l.index})
		}
	}
	return left, nil
}
