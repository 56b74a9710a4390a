package gateway

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/clickledger/clickledger/schemas"
)

const (
	clicksPath = "/api/v1/clicks"
	healthPath = "/healthz"
	readyPath  = "/readyz"

	readyTimeout      = 2 * time.Second
	retryAfterSeconds = "1"
)

// Values of headers that are the same in every answer; net/http only reads them.
var (
	noCache    = []string{"no-cache, no-store, must-revalidate"}
	retryAfter = []string{retryAfterSeconds}
	noContent  = []string{"0"}
)

type handler struct {
	cfg    Config
	deps   Deps
	hosts  allowedHosts
	counts counts

	draining atomic.Bool
	// down is set while the log does not acknowledge; its changes are logged, not every request.
	down atomic.Bool
}

func newHandler(cfg Config, deps Deps) *handler {
	return &handler{cfg: cfg, deps: deps, hosts: newAllowedHosts(cfg.RedirectHosts)}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case clicksPath, healthPath, readyPath:
	default:
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet {
		// A HEAD, as link checkers send it, is not a click either.
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
		return
	}
	switch r.URL.Path {
	case clicksPath:
		h.click(w, r)
	case readyPath:
		h.ready(w, r)
	default:
		answer(w, http.StatusOK, "ok\n")
	}
}

// click records one click and redirects. The answer 302 is given only after the log acknowledged the
// record. A click whose fields are bad is recorded and redirected all the same: it becomes a dead
// letter with its reason. Only a redirect_url that cannot be followed is refused.
func (h *handler) click(w http.ResponseWriter, r *http.Request) {
	w.Header()["Cache-Control"] = noCache
	if len(r.RequestURI) > h.cfg.URLBytesMax {
		h.counts.refused.Add(1)
		answer(w, http.StatusRequestURITooLong, "the URL is too long\n")
		return
	}
	p := parseQuery(r.URL.RawQuery)
	target, err := location(p.redirectURL, h.hosts)
	if err != nil {
		h.counts.refused.Add(1)
		answer(w, http.StatusBadRequest, err.Error()+"\n")
		return
	}
	receivedAt := h.deps.Now().UnixMicro()
	h.complete(&p.click, r, receivedAt)
	if err := h.append(r.Context(), &p.click, receivedAt); err != nil {
		h.counts.unavailable.Add(1)
		w.Header()["Retry-After"] = retryAfter
		answer(w, http.StatusServiceUnavailable, "the click could not be recorded, try again\n")
		return
	}
	h.counts.redirected.Add(1)
	header := w.Header()
	header["Location"] = []string{target}
	header["Content-Length"] = noContent
	if id := cookieValue(p.click.UserID); id != "" {
		header["Set-Cookie"] = []string{
			"csp_tracking_id=" + id + "; Path=/; Secure; HttpOnly; SameSite=Strict"}
	}
	w.WriteHeader(http.StatusFound)
}

// complete fills in what the URL does not hold.
func (h *handler) complete(c *schemas.RawClick, r *http.Request, receivedAtMicros int64) {
	c.UserAgent = headerText(r.Header["User-Agent"])
	c.Referrer = headerText(r.Header["Referer"])
	c.ReceivedAt = receivedAtMicros
	c.DeviceType = []byte(deviceType(c.UserAgent))
	if h.cfg.CountryHeader != "" {
		c.CountryCode = countryCode(r.Header[h.cfg.CountryHeader])
	}
	if len(c.IPAddress) == 0 {
		if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
			c.IPAddress = []byte(peer.Addr().WithZone("").Unmap().String())
		}
	}
}

// append writes the click to the log. A browser that hangs up does not take its click back.
func (h *handler) append(ctx context.Context, c *schemas.RawClick, receivedAtMicros int64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.cfg.AppendTimeout)
	defer cancel()
	key := h.cfg.Key.AppendTo(nil, c, h.cfg.Salts)
	value := c.AppendTo(make([]byte, 0, 128+len(c.UserAgent)+len(c.Referrer)+len(c.UserID)))
	err := h.deps.Appender.Append(ctx, key, value, receivedAtMicros)
	if down := err != nil; h.down.Load() != down && h.down.CompareAndSwap(!down, down) {
		if down {
			h.deps.Logger.Warn("clicks are refused with 503", slog.String("error", err.Error()))
		} else {
			h.deps.Logger.Info("clicks are accepted again")
		}
	}
	return err
}

func (h *handler) ready(w http.ResponseWriter, r *http.Request) {
	if h.draining.Load() {
		answer(w, http.StatusServiceUnavailable, "stopping\n")
		return
	}
	if h.deps.Ready != nil {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		if err := h.deps.Ready(ctx); err != nil {
			answer(w, http.StatusServiceUnavailable, "the log does not answer\n")
			return
		}
	}
	answer(w, http.StatusOK, "ready\n")
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
