//go:build race

package duckdbtest

// Variable is the environment variable with the path of the program. Nothing but tests reads it.
const Variable = "PCAPSULE_TEST_DUCKDB_RACE"

const name = "duckdb-race"

func flags() []string { return []string{"-race"} }
