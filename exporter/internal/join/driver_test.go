package join_test

import _ "github.com/duckdb/duckdb-go/v2" // for bundletest
