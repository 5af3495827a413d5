// Package truth tests owners in scenarios in which the writer of all data is known. Processes in
// separate network namespaces call each other while the recorder runs. Each call in the bundle must
// name the processes that made and answered it, or be marked as a guess.
package truth
