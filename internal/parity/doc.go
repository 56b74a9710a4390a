// Package parity has only tests: the same log through the stream and through the archive and the
// batch, the oracle's judgement of it, and the reconciliation of the three. The parts are real: a
// broker, a serving store, an archive, and PostgreSQL, each test with its own.
package parity
