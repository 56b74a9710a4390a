package nightly

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// The limits of sending a summary.
const (
	DefaultWebhookTimeout = 10 * time.Second // of one try
	webhookTries          = 5
	webhookRetryFirst     = 500 * time.Millisecond
	webhookRetryLast      = 10 * time.Second
	webhookURLBytesMax    = 4096
	webhookAnswerMax      = 64 << 10 // bytes of an answer that are read
)

// Webhook gets the summary of a run by an HTTPS POST of JSON. Its URL is a secret: it is in no error
// and in no log, and redirects are not followed.
type Webhook struct {
	Timeout time.Duration // of one try; default DefaultWebhookTimeout

	url       string
	transport http.RoundTripper // nil is the default
	first     time.Duration     // of the waits between tries; 0 is webhookRetryFirst
}

// ReadWebhook reads the URL from the first line of a file. Errors do not quote it.
func ReadWebhook(file string) (*Webhook, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the webhook's file: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	line = strings.TrimSpace(line)
	u, err := url.Parse(line)
	if err != nil || u.Scheme != "https" || u.Host == "" || len(line) > webhookURLBytesMax {
		return nil, fmt.Errorf("%s: its first line is no https:// URL", file)
	}
	return &Webhook{url: line}, nil
}

// Send posts the report, and tries again some times while the receiver is away or overloaded.
func (w *Webhook) Send(ctx context.Context, report *Report) error {
	doc, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("send summary: %w", err)
	}
	timeout, first := w.Timeout, w.first
	if timeout == 0 {
		timeout = DefaultWebhookTimeout
	}
	if first == 0 {
		first = webhookRetryFirst
	}
	client := &http.Client{Timeout: timeout, Transport: w.transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = first, webhookRetryLast
	tries := 0
	_, err = backoff.Retry(ctx, func() (struct{}, error) {
		tries++
		return struct{}{}, w.post(ctx, client, doc)
	}, backoff.WithBackOff(wait), backoff.WithMaxTries(webhookTries), backoff.WithMaxElapsedTime(0))
	if err != nil {
		return fmt.Errorf("send summary, %d tries: %w", tries, err)
	}
	return nil
}

// post sends once.
func (w *Webhook) post(ctx context.Context, client *http.Client, doc []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(doc))
	if err != nil {
		return backoff.Permanent(errors.New("the URL makes no request"))
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		if quoted, ok := errors.AsType[*url.Error](err); ok { // its text has the URL
			err = quoted.Err
		}
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, webhookAnswerMax))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	switch {
	case resp.StatusCode < 300:
		return nil
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout:
		return fmt.Errorf("answered with status %d", resp.StatusCode)
	}
	return backoff.Permanent(fmt.Errorf("answered with status %d", resp.StatusCode))
}
