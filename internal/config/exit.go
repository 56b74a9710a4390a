package config

import "errors"

// The exit codes of the program, the same for every command.
const (
	ExitOK            = 0 // done
	ExitFailed        = 1 // failed; running it again is safe
	ExitUsage         = 2 // bad usage or bad configuration; running it again cannot help
	ExitDiscrepancies = 3 // done, but with discrepancies above the tolerance
)

// ExitError is an error that chooses the exit code of the process. Errors without one exit with
// ExitFailed.
type ExitError struct {
	Code int   // one of the Exit constants
	Err  error // the cause; its text is what the user reads
}

func (e *ExitError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ExitError) Unwrap() error { return e.Err }

// ExitCode returns the exit code for err: ExitOK for nil, the code of an ExitError or of a
// Problems in its chain, and ExitFailed for everything else.
func ExitCode(err error) int {
	if err == nil {
		return ExitOK
	}
	if exit, ok := errors.AsType[*ExitError](err); ok {
		return exit.Code
	}
	if _, ok := errors.AsType[Problems](err); ok {
		return ExitUsage
	}
	return ExitFailed
}
