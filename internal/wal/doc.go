// Package wal is a write-ahead log in a folder: append-only segments of records, each with a checksum.
//
// Append returns after its record is on the disk: one goroutine writes and syncs all records that came
// while the last sync ran (group commit), two milliseconds after the last one at the earliest. Records are numbered from 1 without gaps, and a Reader
// returns them in that order. Ack names the number up to which everything was taken over elsewhere;
// whole segments below it are removed, and reading goes on after it when the log is opened again. After
// a crash up to a second's worth of acknowledged records are read again: readers must bear that.
//
// What was torn by a crash or changed on the disk is found by the checksums. A reader skips it, reports
// it, and goes on with the next sound record. A segment that lost records is not removed but set aside
// under the name *.damaged.
//
// An error of Append says that the record is not promised; it may be in the log all the same. The log
// has a limit in bytes, and so has what waits for a sync; beyond them Append fails at once.
//
// The package knows nothing of what the records hold.
package wal
