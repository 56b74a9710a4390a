// Package archtest holds the shape of the module as tests: which package may import which, what
// must not be read below the jobs, and how large a file may grow. It has no code of its own.
package archtest
