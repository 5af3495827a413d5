package lab

import "context"

// Scenario is one capture, or a group of files that are made together.
type Scenario struct {
	Name string
	Make func(context.Context, string) error // the argument is the folder for the files
}

// Part is what a process does inside a namespace.
type Part func(context.Context, []string) error
