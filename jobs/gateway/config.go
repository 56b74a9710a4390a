package gateway

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/clickledger/clickledger/internal/signedurl"
	"github.com/clickledger/clickledger/internal/wal"
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
	DefaultConnectionsMax    = 20_000

	// A record must stay under the policy's 64 KiB: the URL, two texts from headers and the rest.
	urlBytesMaxLimit = 32 << 10
	headerTextMax    = 8 << 10
	headerBytesMax   = 32 << 10
	saltsMax         = 1024
)

// The ways to tell a device.
const (
	DeviceUserAgent = "useragent"
	DeviceOff       = "off"
)

// Config is the tracking endpoint's. The zero value of a field is its default.
type Config struct {
	// Listen is host:port; port 0 takes a free one. Default DefaultListen.
	Listen string
	// WAL is the write-ahead log. Its folder is required; one gateway at a time may use it.
	WAL wal.Config
	// Key says how a click's Kafka key is made; default schemas.KeyClickID.
	Key schemas.ClickKey
	// Salts is the number of keys of one ad with schemas.KeyAdSalt, 1 to 1024; default DefaultSalts.
	Salts int
	// Keys check the URLs: with them, only signed URLs are taken. Without them RedirectHosts is
	// required, and whoever makes a URL decides its price.
	Keys *signedurl.Keys
	// RedirectHosts are the hosts that a redirect may lead to: "shop.example" is that host alone,
	// "*.shop.example" every host below it. With Keys the default is every host, as signed.
	RedirectHosts []string
	// TrustedProxies are the networks of proxies whose X-Forwarded-For and CountryHeader are believed;
	// a client in them is not limited by ClientRate. Default: none.
	TrustedProxies []netip.Prefix
	// IgnoreIPParameter records the client's address also where the URL has an ip_address.
	IgnoreIPParameter bool
	// CountryHeader names the header in which a trusted proxy passes the visitor's country, such as
	// CloudFront-Viewer-Country. It goes before Deps.Countries. Default: none.
	CountryHeader string
	// Device says how the kind of device is told; default DeviceUserAgent.
	Device string
	// ClientRate is how many requests a second one client may make, and twice as many at once. An IPv6
	// client is its /64. Default: any number.
	ClientRate int
	// ConnectionsMax bounds the open connections; default DefaultConnectionsMax. A client that is no
	// trusted proxy may hold a quarter of them.
	ConnectionsMax int
	// MetricsListen is host:port of /metrics; default: none, and /metrics is answered at Listen.
	MetricsListen string
	// URLBytesMax is the longest request target, up to 32 KiB; default DefaultURLBytesMax.
	URLBytesMax int
	// AppendTimeout is how long a request waits for the disk before its answer is 503.
	AppendTimeout time.Duration
	// ReadHeaderTimeout bounds the reading of a request, IdleTimeout the wait for the next one.
	ReadHeaderTimeout, IdleTimeout time.Duration
	// DrainTimeout bounds the answering of requests under way once the gateway is told to stop, and
	// then again the sending of what is in the write-ahead log.
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
	if _, _, err := net.SplitHostPort(c.MetricsListen); c.MetricsListen != "" && err != nil {
		bad("metrics_listen", "%q is not of the form host:port", c.MetricsListen)
	}
	if err := c.WAL.Validate(); err != nil {
		bad("wal", "%v", err)
	}
	if !c.Key.Valid() {
		bad("key", "%q is neither %s nor %s", c.Key, schemas.KeyClickID, schemas.KeyAdSalt)
	}
	if c.Device != DeviceUserAgent && c.Device != DeviceOff {
		bad("device", "%q is neither %s nor %s", c.Device, DeviceUserAgent, DeviceOff)
	}
	c.validateRedirects(bad)
	if strings.ContainsAny(c.CountryHeader, " \t\r\n:") {
		bad("country_header", "%q is not the name of a header", c.CountryHeader)
	}
	for i, p := range c.TrustedProxies {
		if !p.IsValid() {
			bad(fmt.Sprintf("trusted_proxies[%d]", i), "not a network")
		}
	}
	c.validateNumbers(bad)
	return errors.Join(errs...)
}

func (c Config) validateRedirects(bad func(key, format string, args ...any)) {
	if c.Keys == nil && len(c.RedirectHosts) == 0 {
		bad("redirect_hosts", "without keys for signed URLs, the hosts that a redirect may lead to must be named")
	}
	for i, host := range c.RedirectHosts {
		name := strings.TrimPrefix(host, "*.")
		if name == "" || strings.ContainsAny(name, "*/:@ \t\r\n") {
			bad(fmt.Sprintf("redirect_hosts[%d]", i), "%q is not a host or *.host", host)
		}
	}
}

func (c Config) validateNumbers(bad func(key, format string, args ...any)) {
	if c.Salts < 1 || c.Salts > saltsMax {
		bad("salts", "%d is not between 1 and %d", c.Salts, saltsMax)
	}
	if c.URLBytesMax < 256 || c.URLBytesMax > urlBytesMaxLimit {
		bad("url_bytes_max", "%d is not between 256 and %d", c.URLBytesMax, urlBytesMaxLimit)
	}
	if c.ClientRate < 0 {
		bad("client_rate", "%d is negative", c.ClientRate)
	}
	if c.ConnectionsMax < 1 {
		bad("connections_max", "%d is less than 1", c.ConnectionsMax)
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
}

func (c Config) withDefaults() Config {
	orDefault(&c.Listen, DefaultListen)
	orDefault(&c.Key, schemas.KeyClickID)
	orDefault(&c.Salts, DefaultSalts)
	orDefault(&c.Device, DeviceUserAgent)
	orDefault(&c.ConnectionsMax, DefaultConnectionsMax)
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
