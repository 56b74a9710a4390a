package generate

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/clickledger/clickledger/internal/loadgen"
	"github.com/clickledger/clickledger/schemas"
)

// Defaults of Config.
const (
	DefaultSalts          = 10
	DefaultConcurrency    = 64
	DefaultRequestTimeout = 10 * time.Second
	DefaultAttempts       = 30
	DefaultDurationMax    = 6 * time.Hour
	DefaultCountryHeader  = "CloudFront-Viewer-Country"

	concurrencyMax = 4096
	partitionsMax  = 100_000
)

// Config says which log is generated and where it goes. The zero value of a field is its default.
type Config struct {
	// Load describes the records. A StartMillis of 0 is the time at which the job starts.
	Load loadgen.Config

	// Gateway is the base URL, http://host:port, of the gateway to which clicks are sent as a browser
	// would. Empty: all records are written to the log. Through a gateway the log always begins now.
	Gateway string
	// BrokenToLog writes what HTTP cannot carry to the log; else a gateway's run leaves it out.
	BrokenToLog bool
	// AudienceToLog writes the impressions of those who do not click to the log, which takes less than a third
	// of the CPU; else a gateway's run sends them, too.
	AudienceToLog bool
	// Pace gives every record at its time. Without it records go out as fast as they are taken: in the
	// log each with its own time, through a gateway as a click of the moment in which it is sent.
	Pace bool

	// Topic is the topic that clicks are written to; default schemas.TopicClicks. Impressions go to
	// schemas.TopicImpressions, by their impression_id.
	Topic string
	// Key says how Kafka keys of clicks are made; default schemas.KeyClickID. A gateway has its own setting.
	Key schemas.ClickKey
	// Salts is the number of keys of one ad with schemas.KeyAdSalt; default DefaultSalts.
	Salts int
	// RoundRobin spreads the clicks over so many partitions in turn, so that copies of a click do not
	// meet in one. Default 0: by the key, as the gateway does.
	RoundRobin int

	// Concurrency is the number of connections to the gateway; default DefaultConcurrency.
	Concurrency int
	// RequestTimeout bounds one request; default DefaultRequestTimeout.
	RequestTimeout time.Duration
	// Attempts is how often a click is sent until it is answered with 302, and an impression with 200;
	// default DefaultAttempts.
	Attempts int
	// CountryHeader names the header that carries the country; default DefaultCountryHeader.
	CountryHeader string
	// DurationMax bounds the whole run; default DefaultDurationMax.
	DurationMax time.Duration
}

// Validate reports every problem of the configuration at once, each with its key.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("generate.%s: %s", key, fmt.Sprintf(format, args...)))
	}
	if err := c.Load.Validate(); err != nil {
		errs = append(errs, err)
	}
	if c.Gateway != "" {
		u, err := url.Parse(c.Gateway)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil ||
			u.Path != "" && u.Path != "/" || u.RawQuery != "" {
			bad("gateway", "not of the form http://host:port")
		}
	}
	if c.BrokenToLog && c.Gateway == "" {
		bad("broken_to_log", "is for a gateway's run only")
	}
	if c.AudienceToLog && c.Gateway == "" {
		bad("audience_to_log", "is for a gateway's run only")
	}
	if !c.Key.Valid() {
		bad("key", "%q is neither %s nor %s", c.Key, schemas.KeyClickID, schemas.KeyAdSalt)
	}
	for _, n := range []struct {
		key            string
		value, at, max int
	}{
		{"salts", c.Salts, 1, 1024}, {"round_robin", c.RoundRobin, 0, partitionsMax},
		{"concurrency", c.Concurrency, 1, concurrencyMax}, {"attempts", c.Attempts, 1, 1_000_000},
	} {
		if n.value < n.at || n.value > n.max {
			bad(n.key, "%d is not between %d and %d", n.value, n.at, n.max)
		}
	}
	if c.RequestTimeout < 0 {
		bad("request_timeout", "%s is negative", c.RequestTimeout)
	}
	if c.DurationMax < 0 {
		bad("duration_max", "%s is negative", c.DurationMax)
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	orDefault(&c.Topic, schemas.TopicClicks)
	orDefault(&c.Key, schemas.KeyClickID)
	orDefault(&c.Salts, DefaultSalts)
	orDefault(&c.Concurrency, DefaultConcurrency)
	orDefault(&c.RequestTimeout, DefaultRequestTimeout)
	orDefault(&c.Attempts, DefaultAttempts)
	orDefault(&c.CountryHeader, DefaultCountryHeader)
	orDefault(&c.DurationMax, DefaultDurationMax)
	return c
}

func orDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}
