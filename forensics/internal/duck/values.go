package duck

import "github.com/pcapsule/pcapsule/forensics/internal/wire"

// Values of rows that are not plain Go, and the columns of an answer.
type (
	Column  = wire.Column
	Struct  = wire.Struct
	Field   = wire.Field
	Map     = wire.Map
	Entry   = wire.Entry
	Decimal = wire.Decimal
)
