// Package archive is the job that writes the log to the archive: Kafka to Parquet, one object an
// offset range. It is safe to kill at any instant and to run twice at once.
//
// Layout, below the archive's URL (offsets have 20 digits, both ends belong to the range):
//
//	clicks/dt=YYYY-MM-DD/hr=HH/p=PPP/<from>-<to>.parquet        the valid clicks; there may be none
//	dead_letters/dt=…/hr=…/p=…/<from>-<to>.parquet              the other records; absent where none
//	decisions/dt=…/hr=…/p=…/<from>-<to>.parquet                 the topic clicks.decisions
//	dlq/dt=…/hr=…/p=…/<from>-<to>.parquet                       the topic clicks.dlq, whole records
//	claims/<clicks|decisions|dlq>/p=PPP/<from>.json             which range begins at that offset
//	claims/<clicks|decisions|dlq>/p=PPP/first.json              where a partition's archive begins
//
// The hour is that of the partition's highest record timestamp so far. A range ends where that hour
// changes, at a number of records or bytes, or after an interval.
//
// How a range is written, and why it holds:
//
//  1. The claim of the range's first offset is put if absent. Its text says where the range ends, so
//     of all archivers, and of all lives of one, only the first chooses an end; the others take over
//     the one that they find. Claims are never removed. So the ranges of a partition form one chain,
//     each beginning after the one before it: no two overlap.
//  2. The dead letters' object is put, if there are any, then the click object, both if absent. Same
//     range, same policy, same bytes: a second writer changes nothing. The click object is last, so
//     that where it is, its dead letters are. An object of dead letters without a click object is one
//     of a range that is not written yet, and readers leave it alone.
//
// The listing of the click objects is the checkpoint: a start continues after the last contiguous
// offset. A crash before step 1 left nothing; after it, the next life finds the claim and writes that
// very range. If the policy changed between the two lives, dead letters that the first life put are
// replaced before the click object is put.
package archive
