package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/clickledger/clickledger/schemas"
)

// Defaults of Config.
const (
	DefaultListen            = "127.0.0.1:8080"
	DefaultSalts             = 10
	DefaultURLBytesMax       = 8 << 10
	DefaultAppendTimeout     = 5 * time.Second
	DefaultReadHeaderTimeout = 5 * time.Second
	DefaultIdleTimeout       = time.Minute
	DefaultDrainTimeout      = 10 * time.Second

	// A record must stay under the policy's 64 KiB: the URL, two texts from headers and the rest.
	urlBytesMaxLimit = 32 << 10
	headerTextMax    = 8 << 10
	headerBytesMax   = 32 << 10
	saltsMax         = 1024
)

// Config is the tracking endpoint's. The zero value of a field is its default.
type Config struct {
	// Listen is host:port; port 0 takes a free one. Default DefaultListen.
	Listen string
	// Key says how a click's Kafka key is made; default schemas.KeyClickID.
	Key schemas.ClickKey
	// Salts is the number of keys of one ad with schemas.KeyAdSalt, 1 to 1024; default DefaultSalts.
	Salts int
	// RedirectHosts are the hosts that a redirect may lead to: "shop.example" is that host alone,
	// "*.shop.example" every host below it. Default: none, which allows every host.
	RedirectHosts []string
	// CountryHeader names the header in which a proxy in front passes the visitor's country, such as
	// CloudFront-Viewer-Country. Default: none, and the country of every click is empty.
	CountryHeader string
	// URLBytesMax is the longest request target, up to 32 KiB; default DefaultURLBytesMax.
	URLBytesMax int
	// AppendTimeout is how long a request waits for the log before its answer is 503.
	AppendTimeout time.Duration
	// ReadHeaderTimeout bounds the reading of a request, IdleTimeout the wait for the next one.
	ReadHeaderTimeout, IdleTimeout time.Duration
	// DrainTimeout bounds the answering of requests under way once the gateway is told to stop.
	DrainTimeout time.Duration
}

// Validate reports every problem of the configuration at once, each with its key.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	bad := func(key, format string, args ...any) {
		errs = append(errs, fmt.Errorf("gateway.%s: %s", key, fmt.Sprintf(format, args...)))
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		bad("listen", "%q is not of the form host:port", c.Listen)
	}
	if !c.Key.Valid() {
		bad("key", "%q is neither %s nor %s", c.Key, schemas.KeyClickID, schemas.KeyAdSalt)
	}
	if c.Salts < 1 || c.Salts > saltsMax {
		bad("salts", "%d is not between 1 and %d", c.Salts, saltsMax)
	}
	if c.URLBytesMax < 256 || c.URLBytesMax > urlBytesMaxLimit {
		bad("url_bytes_max", "%d is not between 256 and %d", c.URLBytesMax, urlBytesMaxLimit)
	}
	for i, host := range c.RedirectHosts {
		name := strings.TrimPrefix(host, "*.")
		if name == "" || strings.ContainsAny(name, "*/:@ \t\r\n") {
			bad(fmt.Sprintf("redirect_hosts[%d]", i), "%q is not a host or *.host", host)
		}
	}
	if strings.ContainsAny(c.CountryHeader, " \t\r\n:") {
		bad("country_header", "%q is not the name of a header", c.CountryHeader)
	}
	for _, d := range []struct {
		key   string
		value time.Duration
	}{
		{"append_timeout", c.AppendTimeout}, {"read_header_timeout", c.ReadHeaderTimeout},
		{"idle_timeout", c.IdleTimeout}, {"drain_timeout", c.DrainTimeout},
	} {
		if d.value < 0 {
			bad(d.key, "%s is negative", d.value)
		}
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	orDefault(&c.Listen, DefaultListen)
	orDefault(&c.Key, schemas.KeyClickID)
	orDefault(&c.Salts, DefaultSalts)
	orDefault(&c.URLBytesMax, DefaultURLBytesMax)
	orDefault(&c.AppendTimeout, DefaultAppendTimeout)
	orDefault(&c.ReadHeaderTimeout, DefaultReadHeaderTimeout)
	orDefault(&c.IdleTimeout, DefaultIdleTimeout)
	orDefault(&c.DrainTimeout, DefaultDrainTimeout)
	if c.CountryHeader != "" {
		c.CountryHeader = http.CanonicalHeaderKey(c.CountryHeader)
	}
	return c
}

func orDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}
