package api

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// Defaults of Config.
const (
	DefaultListen            = "127.0.0.1:8090"
	DefaultRatePerSecond     = 20
	DefaultQueryTimeout      = 10 * time.Second
	DefaultReadHeaderTimeout = 5 * time.Second
	DefaultIdleTimeout       = 2 * time.Minute
	DefaultDrainTimeout      = 10 * time.Second
	DefaultURLBytesMax       = 4 << 10
	DefaultHeaderBytesMax    = 32 << 10
	DefaultCurrency          = "USD"
)

// Limits of a request.
const (
	// RangeDaysMax is the longest range, and pointsDefault and PointsMax the points of one page.
	RangeDaysMax  = 400
	pointsDefault = 1000
	PointsMax     = 10_000

	topDefault = 10
	topMax     = 100
	// ruleDaysMax is over how many days rules are counted.
	ruleDaysMax = 35

	idBytesMax     = 64 // as the wire contract has it, in characters of four bytes at most
	cursorBytesMax = 512
	queriesMax     = 64 // parameters of one request
)

// Config is the API's. The zero value of a field is its default.
type Config struct {
	// Listen is host:port; port 0 takes a free one. Default DefaultListen.
	Listen string
	// RatePerSecond is how many requests a token's subject may send in the long run; three times as many
	// at once. Default DefaultRatePerSecond.
	RatePerSecond int
	// QueryTimeout bounds what one request asks of stores; its answer is 503 then.
	QueryTimeout time.Duration
	// ReadHeaderTimeout bounds the reading of a request, IdleTimeout the wait for the next one.
	ReadHeaderTimeout, IdleTimeout time.Duration
	// DrainTimeout bounds the answering of requests under way once the API is told to stop.
	DrainTimeout time.Duration
	// URLBytesMax and HeaderBytesMax are the longest request target and header.
	URLBytesMax, HeaderBytesMax int
	// Currency is that of all amounts; default DefaultCurrency.
	Currency string
}

// Validate reports every problem of the configuration at once, each with its key.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		errs = append(errs, fmt.Errorf("api.listen: %w", err))
	}
	if c.RatePerSecond < 1 {
		errs = append(errs, errors.New("api.rate: want at least 1"))
	}
	if c.QueryTimeout < time.Millisecond {
		errs = append(errs, errors.New("api.query_timeout: want at least 1ms"))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	set := func(to *time.Duration, value time.Duration) {
		if *to == 0 {
			*to = value
		}
	}
	set(&c.QueryTimeout, DefaultQueryTimeout)
	set(&c.ReadHeaderTimeout, DefaultReadHeaderTimeout)
	set(&c.IdleTimeout, DefaultIdleTimeout)
	set(&c.DrainTimeout, DefaultDrainTimeout)
	for _, n := range []struct {
		to    *int
		value int
	}{{&c.RatePerSecond, DefaultRatePerSecond}, {&c.URLBytesMax, DefaultURLBytesMax}, {&c.HeaderBytesMax, DefaultHeaderBytesMax}} {
		if *n.to == 0 {
			*n.to = n.value
		}
	}
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	if c.Currency == "" {
		c.Currency = DefaultCurrency
	}
	return c
}
