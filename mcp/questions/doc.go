// Package questions tests the server with 48 questions that people ask.
//
// Each question is a script of at most 6 tool calls. Their arguments come from the question and
// from earlier answers. The scripts run on captures whose truth is known (samples/questions), and
// the answers must contain every fact of that truth.
package questions
