package exit

import (
	"errors"
	"io/fs"
	"testing"
)

func TestOutputError(t *testing.T) {
	denied := &fs.PathError{Op: "mkdir", Path: "/evidence/.a.partial-1", Err: fs.ErrPermission}
	var coded *Error
	if err := OutputError(denied, "/evidence/a.pcapsule"); !errors.As(err, &coded) || coded.Code != Disk {
		t.Errorf("an output that cannot be written: got %v", err)
	}
	if err := OutputError(denied, "/other/a.pcapsule"); errors.As(err, &coded) && coded.Code == Disk && err != error(denied) {
		t.Errorf("an input that cannot be read: got %v", err)
	}
}
