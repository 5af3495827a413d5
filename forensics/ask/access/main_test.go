package access_test

import (
	"context"
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
)

var ctx = context.Background()

func TestMain(m *testing.M) { asktest.Main(m) }
