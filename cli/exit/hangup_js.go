package exit

import "os"

// hangup is no signal of its own in a browser.
var hangup = os.Interrupt
