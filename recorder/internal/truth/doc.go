// Package truth holds scenes in which it is known who wrote what: processes in a network
// namespace of their own call each other while the recorder watches, and each call in the
// bundle must name the processes that made and answered it, or say that it guesses.
package truth
