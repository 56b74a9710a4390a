package wal

import (
	"errors"
	"fmt"
	"time"
)

// Defaults of Config.
const (
	DefaultSegmentBytes   = 64 << 20
	DefaultMaxBytes       = 16 << 30
	DefaultRecordBytesMax = 256 << 10
	DefaultWaitingBytes   = 32 << 20
	DefaultPositionEvery  = time.Second
	DefaultSyncEvery      = 2 * time.Millisecond
)

// Sentinels of Append, matched by errors.Is.
var (
	// ErrFull says that the log has reached its limit, or the disk its end.
	ErrFull = errors.New("the log is full")
	// ErrBusy says that more waits for the disk than may.
	ErrBusy = errors.New("too much waits for the disk")
	// ErrClosed says that the log was closed.
	ErrClosed = errors.New("the log is closed")
	// ErrTooLarge says that a record is larger than records may be.
	ErrTooLarge = errors.New("the record is too large")
)

// Config says where the log is and how large it may get. The zero value of a field is its default.
type Config struct {
	// Dir holds the log; it is created if need be. One process at a time may use it. Required.
	Dir string
	// SegmentBytes is the size at which a segment is closed; default DefaultSegmentBytes.
	SegmentBytes int64
	// MaxBytes bounds all segments together, at least twice SegmentBytes; default DefaultMaxBytes.
	MaxBytes int64
	// RecordBytesMax is the largest record; default DefaultRecordBytesMax.
	RecordBytesMax int
	// WaitingBytes bounds what waits for a sync; default DefaultWaitingBytes.
	WaitingBytes int
	// PositionEvery is the least time between two writes of the read position; default a second.
	PositionEvery time.Duration
	// SyncEvery is the least time between the beginnings of two syncs; default two milliseconds. A record
	// that comes alone is synced at once. Those of a crowd wait for each other: a sync a record or two
	// takes the CPU from those who answer.
	SyncEvery time.Duration
	// Committed is called after each group that is on the disk, by the goroutine that writes: it must
	// be quick. May be nil.
	Committed func(Group)
	// Damaged is called by readers for each damage that they find. May be nil.
	Damaged func(Damage)
}

// Group is what one sync made durable.
type Group struct {
	Records int
	Bytes   int64
	Took    time.Duration // write and sync
}

// Damage is one range of a segment that could not be read.
type Damage struct {
	Segment string // the file's name
	Offset  int64
	Bytes   int64 // 0 where whole records are missing between sound ones
	// Records is how many numbered records are missing; 0 at a tail, where it cannot be known.
	Records uint64
	// Tail is true for the end of a segment that a crash tore: no record in it was promised, unless
	// the disk lost what it had confirmed.
	Tail bool
}

func (d Damage) String() string {
	if d.Tail {
		return fmt.Sprintf("%s: %d bytes at the end, from byte %d, are no record", d.Segment, d.Bytes, d.Offset)
	}
	return fmt.Sprintf("%s: %d records lost in %d bytes from byte %d", d.Segment, d.Records, d.Bytes, d.Offset)
}

// Validate reports every problem of the configuration at once.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("dir: required"))
	}
	if c.SegmentBytes < headerBytes+headBytes {
		errs = append(errs, fmt.Errorf("segment_bytes: %d is too small", c.SegmentBytes))
	}
	if c.MaxBytes < 2*c.SegmentBytes {
		errs = append(errs, fmt.Errorf("max_bytes: %d is less than two segments of %d", c.MaxBytes, c.SegmentBytes))
	}
	if c.RecordBytesMax < 1 || c.RecordBytesMax > recordBytesLimit {
		errs = append(errs, fmt.Errorf("record_bytes_max: %d is not between 1 and %d", c.RecordBytesMax, recordBytesLimit))
	}
	if c.WaitingBytes < c.RecordBytesMax+headBytes {
		errs = append(errs, fmt.Errorf("waiting_bytes: %d is less than one record", c.WaitingBytes))
	}
	if c.PositionEvery < 0 {
		errs = append(errs, fmt.Errorf("position_every: %s is negative", c.PositionEvery))
	}
	if c.SyncEvery < 0 {
		errs = append(errs, fmt.Errorf("sync_every: %s is negative", c.SyncEvery))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("wal: %w", err)
	}
	return nil
}

func (c Config) withDefaults() Config {
	orDefault(&c.SegmentBytes, DefaultSegmentBytes)
	orDefault(&c.MaxBytes, DefaultMaxBytes)
	orDefault(&c.RecordBytesMax, DefaultRecordBytesMax)
	orDefault(&c.WaitingBytes, DefaultWaitingBytes)
	orDefault(&c.PositionEvery, DefaultPositionEvery)
	orDefault(&c.SyncEvery, DefaultSyncEvery)
	return c
}

func orDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}
