package worker

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/pcapsule/pcapsule/forensics/internal/confine"
)

// become is the process of sandbox.Run: it confines itself and becomes the program.
func become(text string) int {
	var p confine.Program
	err := json.Unmarshal([]byte(text), &p)
	if err == nil {
		err = confine.Become(&p)
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}
