// Package kafkaio reads and writes the log: one partition at a time with kafka-go, and in bulk with
// franz-go's idempotent producer.
//
// Reading: kafka-go looks the leaders up, dials, negotiates and routes; the records of a fetch are
// then cut out of its answer by this package, in place, because that is the step whose cost is paid
// per record. Offsets are the caller's: nothing is committed to the broker. Records come in offset
// order, none twice, none left out but those that the broker itself no longer has within a batch
// (compaction) and control records of transactions. Record times are Unix microseconds, which Kafka
// keeps to the millisecond.
//
// Every call ends: what cannot be reached is retried for a bounded time, and the error then names the
// URL.
package kafkaio
