package archive

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/clickledger/clickledger/internal/kafkaio"
	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

const (
	// DefaultFlushInterval is how long a record waits for others of its file, at most.
	DefaultFlushInterval = time.Minute
	// DefaultMaxRecords ends a file.
	DefaultMaxRecords = 250_000
	// DefaultMaxBufferedBytes bounds what all partitions together hold before it is written.
	DefaultMaxBufferedBytes = 256 << 20

	maxRecordsLimit    = 10_000_000
	flushIntervalMin   = 10 * time.Millisecond
	bufferedBytesMin   = 1 << 20
	encodersMax        = 2 // files encoded at a time: each holds its rows beside the records
	fetchWait          = 500 * time.Millisecond
	partitionsInterval = 10 * time.Second
	finalFlushTimeout  = 15 * time.Second
)

// Config says what is archived, and where. Run takes the log and the archive from Deps where those
// are set.
type Config struct {
	// Log is the log's URL, kafka://host:port[,host:port]. Key: log.
	Log string
	// Archive is the archive's URL, file:///dir or s3://bucket/prefix. Key: archive.
	Archive string
	// Policy tells clicks from dead letters. Required by Run. Key: policy.
	Policy *policy.Policy
	// Topics are some of clicks, clicks.decisions and clicks.dlq; default all.
	Topics []string
	// RunUntilEnd archives what the log holds at the start, and returns; default false: until ctx ends.
	RunUntilEnd bool
	// FlushInterval ends a file of which the first record waits so long; default DefaultFlushInterval.
	FlushInterval time.Duration
	// MaxRecords ends a file; default DefaultMaxRecords.
	MaxRecords int
	// MaxBufferedBytes bounds the records in memory over all partitions; a partition's share ends a
	// file. Default DefaultMaxBufferedBytes. The peak is about three times that.
	MaxBufferedBytes int
	// Bytes has Verify read every byte of every object, not only footers and offsets.
	Bytes bool
}

// Deps are what the job works with; zero values are replaced by what Config names.
type Deps struct {
	Store    objectstore.Store
	Client   *kafkaio.Client
	Logger   *slog.Logger     // default: none
	Progress func(Progress)   // called after every file, by one goroutine at a time; default: none
	Now      func() time.Time // times the flush interval and nothing else; default time.Now
}

// Progress are the totals since the start.
type Progress struct {
	Records     int64 `json:"records"`
	Clicks      int64 `json:"clicks"`
	DeadLetters int64 `json:"dead_letters"`
	Decisions   int64 `json:"decisions"`
	DLQ         int64 `json:"dlq"` // records of clicks.dlq
	Undecodable int64 `json:"undecodable_decisions"`
	Files       int64 `json:"files"`
	Bytes       int64 `json:"bytes"` // of the objects written
	// TakenOver counts the ranges whose claim or object was there already: made by another archiver, or
	// by an earlier life of this one.
	TakenOver int64 `json:"taken_over"`
}

// Validate reports every problem of the configuration at once, by key.
func (c Config) Validate() error {
	errs := c.validatePlaces()
	if c.Policy == nil {
		errs = append(errs, errors.New("policy: required"))
	}
	if c.FlushInterval != 0 && c.FlushInterval < flushIntervalMin {
		errs = append(errs, fmt.Errorf("flush_interval: %s is under %s", c.FlushInterval, flushIntervalMin))
	}
	if c.MaxRecords < 0 || c.MaxRecords > maxRecordsLimit {
		errs = append(errs, fmt.Errorf("max_records: %d is not in 1-%d", c.MaxRecords, maxRecordsLimit))
	}
	if c.MaxBufferedBytes != 0 && c.MaxBufferedBytes < bufferedBytesMin {
		errs = append(errs, fmt.Errorf("max_buffered_bytes: %d is under %d", c.MaxBufferedBytes, bufferedBytesMin))
	}
	return errors.Join(errs...)
}

func (c Config) validatePlaces() []error {
	var errs []error
	if c.Log == "" {
		errs = append(errs, errors.New("log: required"))
	} else if _, err := kafkaio.ParseURL(c.Log); err != nil {
		errs = append(errs, fmt.Errorf("log: %w", err))
	}
	return append(errs, c.validateArchive()...)
}

func (c Config) validateArchive() []error {
	var errs []error
	if c.Archive == "" {
		errs = append(errs, errors.New("archive: required"))
	} else if err := objectstore.Validate(c.Archive); err != nil {
		errs = append(errs, fmt.Errorf("archive: %w", err))
	}
	for _, t := range c.Topics {
		if _, ok := families[t]; !ok {
			errs = append(errs, fmt.Errorf("topics: %q is none of %s, %s and %s", t, schemas.TopicClicks, schemas.TopicDecisions, schemas.TopicDLQ))
		}
	}
	return errs
}

func (c Config) withDefaults() Config {
	if len(c.Topics) == 0 {
		c.Topics = []string{schemas.TopicClicks, schemas.TopicDecisions, schemas.TopicDLQ}
	}
	c.Topics = slices.Compact(slices.Sorted(slices.Values(c.Topics)))
	if c.FlushInterval == 0 {
		c.FlushInterval = DefaultFlushInterval
	}
	if c.MaxRecords == 0 {
		c.MaxRecords = DefaultMaxRecords
	}
	if c.MaxBufferedBytes == 0 {
		c.MaxBufferedBytes = DefaultMaxBufferedBytes
	}
	return c
}

func (d Deps) withDefaults() Deps {
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	if d.Progress == nil {
		d.Progress = func(Progress) {}
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	return d
}
