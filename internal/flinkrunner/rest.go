package flinkrunner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// askTimeout bounds one question to a server.
	askTimeout = 20 * time.Second
	// pollInterval is the pause between two looks at something that takes time.
	pollInterval = 250 * time.Millisecond
	// maxAnswerBytes bounds an answer.
	maxAnswerBytes = 64 << 20
)

// ErrUnreachable is returned when the cluster or the job server does not answer.
var ErrUnreachable = errors.New("does not answer")

// ErrNotFound is returned for a job that the cluster does not know.
var ErrNotFound = errors.New("not found")

// rest asks Flink's REST API.
type rest struct{ url string }

// get reads a JSON answer into answer.
func (r rest) get(ctx context.Context, path string, answer any) error {
	return r.ask(ctx, http.MethodGet, path, nil, answer)
}

// post sends a JSON request.
func (r rest) post(ctx context.Context, path string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	return r.ask(ctx, http.MethodPost, path, body, answer)
}

func (r rest) ask(ctx context.Context, method, path string, body []byte, answer any) error {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(asking, method, r.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("flink at %s %w: %w", r.url, ErrUnreachable, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswerBytes))
	if err != nil {
		return fmt.Errorf("flink at %s %w: %w", r.url, ErrUnreachable, err)
	}
	switch {
	case response.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%s: %w: %s", path, ErrNotFound, complaint(text))
	case response.StatusCode == http.StatusServiceUnavailable: // its JobManager is just starting
		return fmt.Errorf("flink at %s %w: %s", r.url, ErrUnreachable, complaint(text))
	case response.StatusCode >= http.StatusBadRequest:
		return fmt.Errorf("flink refuses %s %s: %s: %s", method, path, response.Status, complaint(text))
	case answer == nil || len(text) == 0:
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("read flink's answer to %s: %w", path, err)
	}
	return nil
}

// complaint is the first line of the first error of an answer; a Java stack follows it.
func complaint(text []byte) string {
	var answer struct {
		Errors []string `json:"errors"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || len(answer.Errors) == 0 {
		return strings.TrimSpace(string(text[:min(len(text), 200)]))
	}
	return rootCause(strings.Join(answer.Errors, "\n"))
}

// rootCause finds in a Java stack trace what began it.
func rootCause(trace string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(trace), "\n")
	cause := ""
	for line := range strings.Lines(trace) {
		if c, ok := strings.CutPrefix(strings.TrimSpace(line), "Caused by: "); ok {
			cause = c
		}
	}
	if cause == "" {
		return strings.TrimSpace(first)
	}
	return cause
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
