// Package questions holds the server to the 48 questions that people ask.
//
// It has tests only. Each question is a script of at most six tool calls whose arguments
// come from the question and from earlier answers, over captures whose truth is known
// (samples/questions), and every fact of that truth must be in the answers.
package questions
