// Package truth tests owners with scenes in which the writer of all data is known: processes
// in their own network namespace call each other while the recorder runs, and each call in
// the bundle must name the processes that made and answered it, or be marked as a guess.
package truth
