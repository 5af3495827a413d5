package confine

// Program is another program, with what it may use. It reads its own file, the libraries of the system and Read, and writes
// to its standard output and error only.
type Program struct {
	Path    string
	Args    []string // without its name
	Read    []string // files and folders
	Memory  int64    // bytes
	Seconds uint64   // of CPU time
}
