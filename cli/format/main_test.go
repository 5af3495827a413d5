package format_test

import (
	"testing"

	"github.com/pcapsule/pcapsule/cli/clitest"
)

func TestMain(m *testing.M) { clitest.Main(m, nil) }
