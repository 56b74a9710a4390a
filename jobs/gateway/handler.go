package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/clickledger/clickledger/internal/signedurl"
	"github.com/clickledger/clickledger/schemas"
)

const (
	clicksPath      = "/api/v1/clicks"
	impressionsPath = "/api/v1/impressions"
	healthPath      = "/healthz"
	readyPath       = "/readyz"
	metricsPath     = "/metrics"

	retryAfterSeconds = "1"
)

// Values of headers that are the same in every answer; net/http only reads them.
var (
	noCache    = []string{"no-cache, no-store, must-revalidate"}
	retryAfter = []string{retryAfterSeconds}
	noContent  = []string{"0"}
	gifType    = []string{"image/gif"}
	gifLength  = []string{strconv.Itoa(len(pixel))}
)

// pixel is a transparent GIF of one pixel.
const pixel = "GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00" +
	"\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"

// appender is the write-ahead log. The payload is the caller's again when Append returns.
type appender interface {
	Append(ctx context.Context, payload []byte) error
	Writable() error
}

type handler struct {
	cfg     Config
	deps    Deps
	log     appender
	hosts   allowedHosts
	limiter *limiter
	devices devices
	metrics *metrics
	scrape  http.Handler // nil where another address answers /metrics
	counts  counts

	// What may be read again while requests are answered; nil for none.
	keys      atomic.Pointer[signedurl.Keys]
	countries atomic.Pointer[Countries]

	draining atomic.Bool
	// down is set while nothing can be recorded; its changes are logged, not every request.
	down atomic.Bool
}

func newHandler(cfg Config, deps Deps, log appender, m *metrics) *handler {
	h := &handler{cfg: cfg, deps: deps, log: log, hosts: newAllowedHosts(cfg.RedirectHosts),
		limiter: newLimiter(cfg.ClientRate, cfg.TrustedProxies), metrics: m}
	h.keys.Store(cfg.Keys)
	if deps.Countries != nil {
		h.countries.Store(&deps.Countries)
	}
	if cfg.MetricsListen == "" {
		h.scrape = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	}
	return h
}

// route is what differs between clicks and impressions.
type route struct {
	path, idName string
	topic        byte
	counters     map[int]prometheus.Counter
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	switch {
	case path == clicksPath || path == impressionsPath || path == healthPath || path == readyPath:
	case path == metricsPath && h.scrape != nil:
	default:
		http.NotFound(w, r)
		return
	}
	isRecording := path == clicksPath || path == impressionsPath
	if r.Method != http.MethodGet && (r.Method != http.MethodHead || isRecording) {
		h.notGet(w, r)
		return
	}
	switch path {
	case clicksPath:
		h.record(w, r, h.clicks())
	case impressionsPath:
		h.record(w, r, h.impressions())
	case readyPath:
		h.ready(w)
	case metricsPath:
		h.scrape.ServeHTTP(w, r)
	default:
		answer(w, http.StatusOK, "ok\n")
	}
}

func (h *handler) clicks() route {
	return route{clicksPath, "click_id", entryClick, h.metrics.clicks}
}

func (h *handler) impressions() route {
	return route{impressionsPath, "impression_id", entryImpression, h.metrics.impressions}
}

// notGet answers any other method. A HEAD, as link checkers send it, is not a click either; load
// balancers ask for health by it.
func (h *handler) notGet(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Allow", http.MethodGet)
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close") // rather than wait for the body
	}
	why := refusal{http.StatusMethodNotAllowed, "only GET\n"}
	switch r.URL.Path {
	case clicksPath:
		h.refuse(w, h.clicks(), why)
	case impressionsPath:
		h.refuse(w, h.impressions(), why)
	default:
		w.Header().Set("Allow", "GET, HEAD")
		answer(w, why.code, "only GET and HEAD\n")
	}
}

// refusal is an answer to a request that is not recorded.
type refusal struct {
	code int
	text string
}

// record records a click or an impression. The answer is given only when the record is on the disk.
// One whose fields are bad is recorded all the same: it becomes a dead letter with its reason. What
// is refused is what was not signed or leads where it must not, and what is too much.
func (h *handler) record(w http.ResponseWriter, r *http.Request, to route) {
	began := time.Now()
	w.Header()["Cache-Control"] = noCache
	p, _ := queries.Get().(*parameters)
	defer queries.Put(p)
	target, refused := h.admit(r, to, p)
	if refused.code == 0 && r.ContentLength != 0 {
		refused = skipBody(r)
	}
	if refused.code != 0 {
		if r.ContentLength != 0 {
			w.Header().Set("Connection", "close") // what is left of the body is nobody's
		}
		h.refuse(w, to, refused)
		return
	}
	if err := h.append(r.Context(), &p.click, to); err != nil {
		h.refuse(w, to, refusal{http.StatusServiceUnavailable, "it could not be recorded, try again\n"})
		return
	}
	h.metrics.seconds.Observe(time.Since(began).Seconds())
	header := w.Header()
	if to.topic == entryImpression {
		h.counts.impressions.Add(1)
		to.counters[http.StatusOK].Inc()
		header["Content-Type"], header["Content-Length"] = gifType, gifLength
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, pixel) // the peer may be gone, which is its own affair
		return
	}
	h.counts.redirected.Add(1)
	to.counters[http.StatusFound].Inc()
	header["Location"] = []string{target}
	header["Content-Length"] = noContent
	if id := cookieValue(p.click.UserID); id != "" {
		header["Set-Cookie"] = []string{
			"csp_tracking_id=" + id + "; Path=/; Secure; HttpOnly; SameSite=Strict"}
	}
	w.WriteHeader(http.StatusFound)
}

// queries holds parameters and the room of their values: no record outlives its request in them.
var queries = sync.Pool{New: func() any { return new(parameters) }}

// admit says what is to be recorded, in p, and where to redirect, or why not.
func (h *handler) admit(r *http.Request, to route, p *parameters) (target string, refused refusal) {
	if len(r.RequestURI) > h.cfg.URLBytesMax {
		return "", refusal{http.StatusRequestURITooLong, "the URL is too long\n"}
	}
	now := h.deps.Now()
	from := clientOf(r, h.cfg.TrustedProxies)
	if !h.limiter.allow(from.addr, now) {
		return "", refusal{http.StatusTooManyRequests, "too many requests\n"}
	}
	if keys := h.keys.Load(); keys != nil {
		switch _, err := keys.Check(to.path, r.URL.RawQuery, now); {
		case errors.Is(err, signedurl.ErrTwice) || errors.Is(err, signedurl.ErrEscape):
			return "", refusal{http.StatusBadRequest, err.Error() + "\n"}
		case err != nil:
			return "", refusal{http.StatusForbidden, err.Error() + "\n"}
		}
	}
	p.parse(r.URL.RawQuery, to.idName)
	if to.topic == entryClick {
		var err error
		if target, err = location(p.redirectURL, h.hosts); err != nil {
			return "", refusal{http.StatusBadRequest, err.Error() + "\n"}
		}
	} else {
		p.click.CostPerClick = 0 // an impression has none
	}
	if !p.isTimed {
		p.click.Timestamp = now.UnixMicro() // a URL that was made for many, or long ago
	}
	h.complete(&p.click, r, from, now.UnixMicro())
	return target, refusal{}
}

// bodyBytesMax is the longest body. None is used: it is read so that what comes after it is the next
// request, and before the record, so that one which does not end is not recorded.
const bodyBytesMax = 8 << 10

func skipBody(r *http.Request) refusal {
	var n int64
	var err error
	if n = r.ContentLength; n <= bodyBytesMax {
		n, err = io.Copy(io.Discard, io.LimitReader(r.Body, bodyBytesMax+1))
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return refusal{http.StatusRequestTimeout, "the request did not end in time\n"}
	case err != nil:
		return refusal{http.StatusBadRequest, "the body is not well formed\n"}
	case n > bodyBytesMax:
		return refusal{http.StatusRequestEntityTooLarge, "the body is too long, and none is wanted\n"}
	}
	return refusal{}
}

func (h *handler) refuse(w http.ResponseWriter, to route, why refusal) {
	to.counters[why.code].Inc()
	switch why.code {
	case http.StatusServiceUnavailable:
		h.counts.unavailable.Add(1)
		w.Header()["Retry-After"] = retryAfter
	case http.StatusTooManyRequests:
		h.counts.limited.Add(1)
		w.Header()["Retry-After"] = retryAfter
	default:
		h.counts.refused.Add(1)
	}
	answer(w, why.code, why.text)
}

// complete fills in what the URL does not hold.
func (h *handler) complete(c *schemas.RawClick, r *http.Request, from client, receivedAtMicros int64) {
	c.UserAgent = headerText(r.Header["User-Agent"])
	c.Referrer = headerText(r.Header["Referer"])
	c.ReceivedAt = receivedAtMicros
	if h.cfg.Device == DeviceUserAgent {
		c.DeviceType = []byte(h.devices.of(c.UserAgent))
	}
	if (len(c.IPAddress) == 0 || h.cfg.IgnoreIPParameter) && from.addr.IsValid() {
		c.IPAddress = []byte(from.addr.String())
	}
	if h.cfg.CountryHeader != "" && from.behind {
		c.CountryCode = countryCode(r.Header[h.cfg.CountryHeader])
	}
	if countries := h.countries.Load(); len(c.CountryCode) == 0 && countries != nil {
		if addr, err := netip.ParseAddr(string(c.IPAddress)); err == nil {
			c.CountryCode = []byte((*countries).Country(addr))
		}
	}
}

// entries holds buffers for what is written to the log.
var entries = sync.Pool{New: func() any { return new([]byte) }}

// append writes the record to the log. A browser that hangs up does not take its click back.
func (h *handler) append(ctx context.Context, c *schemas.RawClick, to route) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.cfg.AppendTimeout)
	defer cancel()
	kind := h.cfg.Key
	if to.topic == entryImpression {
		kind = schemas.KeyClickID
	}
	var keyBuf [128]byte
	key := kind.AppendTo(keyBuf[:0], c, h.cfg.Salts)
	buf, _ := entries.Get().(*[]byte)
	defer entries.Put(buf)
	*buf = c.AppendTo(append(appendEntryHead((*buf)[:0], to.topic, c.ReceivedAt, len(key)), key...))
	err := h.log.Append(ctx, *buf)
	if down := err != nil; h.down.Load() != down && h.down.CompareAndSwap(!down, down) {
		if down {
			h.deps.Logger.Error("clicks are refused with 503", "job", "gateway", "error", err.Error())
		} else {
			h.deps.Logger.Info("clicks are accepted again", "job", "gateway")
		}
	}
	return err
}

// ready says whether clicks can be recorded now. Kafka's absence is no reason to be out of service.
func (h *handler) ready(w http.ResponseWriter) {
	switch {
	case h.draining.Load():
		answer(w, http.StatusServiceUnavailable, "stopping\n")
	case h.log.Writable() != nil:
		answer(w, http.StatusServiceUnavailable, "the write-ahead log is full\n")
	default:
		answer(w, http.StatusOK, "ready\n")
	}
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the peer may be gone, which is its own affair
}

// headerText returns a header's first value as valid UTF-8 of bounded length. Unlike the ids, a
// header is nobody's claim on money: a stray byte in it must not make the click unreadable.
func headerText(values []string) []byte {
	if len(values) == 0 {
		return nil
	}
	text := []byte(values[0])
	if !utf8.Valid(text) {
		text = bytes.ToValidUTF8(text, []byte("\uFFFD"))
	}
	if len(text) > headerTextMax {
		cut := headerTextMax
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut]
	}
	return text
}

// countryCode returns the header's value if it is two letters, in upper case; else nothing.
func countryCode(values []string) []byte {
	if len(values) == 0 || len(values[0]) != 2 {
		return nil
	}
	code := bytes.ToUpper([]byte(values[0]))
	if code[0] < 'A' || code[0] > 'Z' || code[1] < 'A' || code[1] > 'Z' {
		return nil
	}
	return code
}
