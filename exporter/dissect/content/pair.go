package content

// Role is the role of a WebSocket message within its call.
type Role uint8

// The roles.
const (
	Single    Role = iota // a call of its own
	Opens                 // the first message of a call
	Continues             // a later one
	Ends                  // the last one
)

// Pair identifies the call of a message.
type Pair struct {
	Key        string // of the call, within its connection
	Role       Role
	FromEither bool // the side that opened the call may end it too
	Several    bool // the call may have more than one answer
	Elsewhere  bool // the message may answer one that another connection carried
	Attached   int  // how many binary messages of the same side follow that belong to it
	Late       bool // the message may come after the last one of its call, which the other side had not seen yet
}

// Pairing combines WebSocket messages into calls. A message of an unknown call, or one that cannot
// be read, is a separate call.
type Pairing func(toClient bool, message []byte) Pair
