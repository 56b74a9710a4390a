// Package schemas holds the contracts that every other package speaks: the click as it is on the
// wire, in the archive and between transforms, the verdicts on it, and the rows that it is summed
// into. Everything here is a pure value or a pure function; there are no clients and no clocks.
//
// Units: event times are Unix milliseconds UTC, received times Unix microseconds UTC, money is
// int64 micros (1e-6 of the currency unit). Windows are half-open and named by their start.
package schemas
