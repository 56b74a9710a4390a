package api

import (
	"encoding/json"
	"net/http"
	"strings"
)

// problem is an error as RFC 9457 has it.
type problem struct {
	Type   string         `json:"type"`
	Title  string         `json:"title"`
	Status int            `json:"status"`
	Detail string         `json:"detail,omitempty"`
	Errors []badParameter `json:"errors,omitempty"`
}

// badParameter is one parameter that is not as it should be.
type badParameter struct {
	Parameter string `json:"parameter"`
	Detail    string `json:"detail"`
}

// Error is the detail.
func (p *problem) Error() string { return p.Title + ": " + p.Detail }

func newProblem(status int, kind, title, detail string) *problem {
	return &problem{Type: "urn:clickledger:problem:" + kind, Title: title, Status: status, Detail: detail}
}

func notFound(detail string) *problem {
	return newProblem(http.StatusNotFound, "not-found", "Not found", detail)
}

func unavailable(detail string) *problem {
	return newProblem(http.StatusServiceUnavailable, "unavailable", "Not available now", detail)
}

func urlTooLong(detail string) *problem {
	return newProblem(http.StatusRequestURITooLong, "url-too-long", "URL too long", detail)
}

// unheard is the form of errors that are answered before a handler is asked.
func unheard(status int, detail string) (mediaType, body string) {
	title := http.StatusText(status)
	p := newProblem(status, strings.ReplaceAll(strings.ToLower(title), " ", "-"), title, detail)
	if status == http.StatusRequestURITooLong {
		p = urlTooLong(detail)
	}
	doc, err := json.Marshal(p)
	if err != nil {
		doc = []byte("{}") // texts and numbers always encode
	}
	return problemType, string(doc) + "\n"
}

const problemType = "application/problem+json"

func writeProblem(w http.ResponseWriter, p *problem) {
	doc, err := json.Marshal(p)
	if err != nil {
		doc = []byte("{}") // texts and numbers always encode
	}
	header := w.Header()
	header.Del("ETag")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(doc, '\n')) // the peer may be gone, which is its own affair
}
