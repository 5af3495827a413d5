package collection_test

import (
	"testing"

	"github.com/pcapsule/pcapsule/forensics/worker/workertest"
)

func TestMain(m *testing.M) {
	workertest.Main()
	m.Run()
}
