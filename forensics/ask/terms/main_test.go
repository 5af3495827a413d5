package terms_test

import (
	"testing"

	"github.com/pcapsule/pcapsule/forensics/ask/asktest"
)

func TestMain(m *testing.M) { asktest.Main(m) }
