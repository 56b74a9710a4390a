package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/clickledger/clickledger/internal/bearer"
)

// Document is the OpenAPI document of the API.
//
//go:embed openapi.json
var Document []byte

const readyTimeout = 2 * time.Second

// Handler answers requests. It is safe for concurrent use.
type Handler struct {
	cfg     Config
	deps    Deps
	limits  *limiter
	metrics *metrics
	routes  map[string]route
	store   *store

	draining atomic.Bool
	// down is set while a store does not answer; its changes are logged, not every request.
	down     atomic.Bool
	answered atomic.Int64
	refused  atomic.Int64
	failed   atomic.Int64
}

// route is a path of the API: get answers a bearer.
type route func(ctx context.Context, claims bearer.Claims, rawQuery string) (*answer, error)

// answer is a document.
type answer struct {
	value any // as JSON, unless body is set
	body  []byte
	kind  string // the body's media type
	name  string // of the file that the body is saved as
}

// NewHandler returns the handler behind Run, for tests and for servers of one's own.
func NewHandler(cfg Config, deps Deps) (*Handler, error) {
	if err := errors.Join(cfg.Validate(), deps.check()); err != nil {
		return nil, err
	}
	cfg, deps = cfg.withDefaults(), deps.withDefaults()
	h := &Handler{cfg: cfg, deps: deps, limits: newLimiter(cfg.RatePerSecond, deps.Now), metrics: newMetrics(),
		store: &store{store: deps.Store, sql: deps.SQL, now: deps.Now}}
	h.routes = map[string]route{
		"/api/v1/session":                     h.session,
		"/api/v1/advertisers/analytics":       h.analytics,
		"/api/v1/advertisers/top":             h.top,
		"/api/v1/advertisers/invalid-traffic": h.invalidTraffic,
		"/api/v1/advertisers/balance":         h.balance,
		"/api/v1/advertisers/statement":       h.statement,
		"/api/v1/reconciliations/latest":      h.reconciliation,
	}
	return h, nil
}

// Result is how many requests were answered so far.
func (h *Handler) Result() Result {
	return Result{Answered: h.answered.Load(), Refused: h.refused.Load(), Failed: h.failed.Load()}
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	if len(r.RequestURI) > h.cfg.URLBytesMax {
		writeProblem(w, urlTooLong("want at most "+strconv.Itoa(h.cfg.URLBytesMax)+" bytes"))
		return
	}
	route, isAPI := h.routes[r.URL.Path]
	switch {
	case isAPI:
	case strings.HasPrefix(r.URL.Path, "/api/"):
		writeProblem(w, notFound("there is no such route"))
		return
	case h.other(w, r):
		return
	case h.deps.Page != nil:
		h.deps.Page.ServeHTTP(w, r)
		return
	default:
		writeProblem(w, notFound("there is no such route"))
		return
	}
	began := h.deps.Now()
	status := h.api(w, r, route)
	h.metrics.observe(r.URL.Path, status, h.deps.Now().Sub(began))
	switch {
	case status >= http.StatusInternalServerError:
		h.failed.Add(1)
	case status >= http.StatusBadRequest:
		h.refused.Add(1)
	default:
		h.answered.Add(1)
	}
}

// other answers what is neither the API's nor the page's; false for other paths.
func (h *Handler) other(w http.ResponseWriter, r *http.Request) bool {
	switch r.URL.Path {
	case "/healthz", "/readyz", "/metrics", "/openapi.json":
	default:
		return false
	}
	if !isReading(w, r) {
		return true
	}
	switch r.URL.Path {
	case "/healthz":
		text(w, http.StatusOK, "ok\n")
	case "/readyz":
		h.ready(w, r)
	case "/metrics":
		promhttp.HandlerFor(h.metrics.registry, promhttp.HandlerOpts{}).ServeHTTP(w, r)
	case "/openapi.json":
		h.writeDocument(w, r, &answer{body: Document, kind: "application/json"})
	}
	return true
}

// isReading answers every method but GET and HEAD.
func isReading(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	writeProblem(w, newProblem(http.StatusMethodNotAllowed, "method", "Method not allowed", "want GET"))
	return false
}

func (h *Handler) ready(w http.ResponseWriter, r *http.Request) {
	if h.draining.Load() {
		text(w, http.StatusServiceUnavailable, "stopping\n")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
	defer cancel()
	if _, err := h.deps.Store.Query(ctx, "select 1"); err != nil {
		text(w, http.StatusServiceUnavailable, "the serving store does not answer\n")
		return
	}
	text(w, http.StatusOK, "ready\n")
}

func text(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text)) // the peer may be gone, which is its own affair
}

// secure sets what every answer has. The page allows itself more, see internal/dashboard.
func secure(header http.Header) {
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
}

// api answers a request for a route, and returns the status.
func (h *Handler) api(w http.ResponseWriter, r *http.Request, get route) int {
	if !isReading(w, r) {
		return http.StatusMethodNotAllowed
	}
	claims, p := h.authenticate(w, r)
	if p == nil {
		p = h.limit(w, claims)
	}
	var doc *answer
	if p == nil {
		ctx, cancel := context.WithTimeout(r.Context(), h.cfg.QueryTimeout)
		defer cancel()
		var err error
		doc, err = get(ctx, claims, r.URL.RawQuery)
		p = h.explain(r.Context(), err)
	}
	if p != nil {
		if p.Status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "5")
		}
		writeProblem(w, p)
		return p.Status
	}
	w.Header().Set("Cache-Control", "private, no-cache")
	w.Header().Set("Vary", "Authorization")
	return h.writeDocument(w, r, doc)
}

func (h *Handler) authenticate(w http.ResponseWriter, r *http.Request) (bearer.Claims, *problem) {
	challenge := func(parameters, detail string) *problem {
		w.Header().Set("WWW-Authenticate", `Bearer realm="clickledger"`+parameters)
		return newProblem(http.StatusUnauthorized, "unauthorized", "Unauthorized", detail)
	}
	headers := r.Header.Values("Authorization")
	if len(headers) != 1 {
		return bearer.Claims{}, challenge("", "want one header Authorization: Bearer TOKEN")
	}
	scheme, token, ok := strings.Cut(headers[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return bearer.Claims{}, challenge("", "want a header Authorization: Bearer TOKEN")
	}
	claims, err := h.deps.Tokens.Verify(r.Context(), token)
	if errors.Is(err, bearer.ErrUnavailable) { // his token may be as good as ever: he stays signed in
		return bearer.Claims{}, unavailable("tokens cannot be checked now, try again")
	}
	if err != nil {
		return bearer.Claims{}, challenge(`, error="invalid_token"`, err.Error())
	}
	return claims, nil
}

func (h *Handler) limit(w http.ResponseWriter, claims bearer.Claims) *problem {
	// A token without a subject shares the limit of its advertiser.
	wait := h.limits.wait(claims.Subject + "\x00" + claims.AdvertiserID)
	if wait == 0 {
		return nil
	}
	w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	return newProblem(http.StatusTooManyRequests, "too-many-requests", "Too many requests",
		"want at most "+strconv.Itoa(h.cfg.RatePerSecond)+" requests a second")
}

// explain turns an error into what the caller is told; nil for none.
func (h *Handler) explain(ctx context.Context, err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	isDown := err != nil && ctx.Err() == nil // who hangs up says nothing about the stores
	if h.down.Load() != isDown && h.down.CompareAndSwap(!isDown, isDown) {
		if isDown {
			h.deps.Logger.Warn("requests are answered with 503", "error", err)
		} else {
			h.deps.Logger.Info("requests are answered again")
		}
	}
	if err == nil {
		return nil
	}
	return unavailable("the numbers cannot be read, try again")
}

// writeDocument writes the answer, or 304 where the caller has it.
func (h *Handler) writeDocument(w http.ResponseWriter, r *http.Request, doc *answer) int {
	body, kind := doc.body, doc.kind
	if doc.value != nil {
		var buffer bytes.Buffer
		encoder := json.NewEncoder(&buffer)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(doc.value); err != nil {
			writeProblem(w, unavailable("the answer cannot be written"))
			return http.StatusServiceUnavailable
		}
		body, kind = buffer.Bytes(), "application/json"
	}
	sum := sha256.Sum256(body)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:18]) + `"`
	header := w.Header()
	header.Set("ETag", tag)
	if hasTag(r.Header.Values("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return http.StatusNotModified
	}
	header.Set("Content-Type", kind)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	if doc.name != "" {
		header.Set("Content-Disposition", `attachment; filename="`+doc.name+`"`)
	}
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the peer may be gone, which is its own affair
	}
	return http.StatusOK
}

// hasTag reports whether If-None-Match names the tag.
func hasTag(headers []string, tag string) bool {
	for _, header := range headers {
		for part := range strings.SplitSeq(header, ",") {
			if part = strings.TrimSpace(part); part == "*" || strings.TrimPrefix(part, "W/") == tag {
				return true
			}
		}
	}
	return false
}
