package servingduck

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

const errorBytesMax = 64 << 10

// client is the store seen through the process that owns the file.
type client struct {
	http    *http.Client
	base    string
	token   string
	tempDir string
}

// openClient connects to the owner that the sidecar names. The error is temporary while an owner
// is starting or has just ended.
func openClient(ctx context.Context, path string, opts Options) (*client, error) {
	s, err := readSidecar(path)
	if err != nil {
		return nil, err
	}
	c := &client{http: &http.Client{Transport: &http.Transport{}}, base: "http://" + s.Address, token: s.Token}
	if _, err := c.LoadProgress(ctx); err != nil { // a stale sidecar fails here
		return nil, errors.Join(err, c.Close())
	}
	if c.tempDir, err = os.MkdirTemp(opts.TempDir, "serving-"); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *client) Upsert(context.Context, []schemas.MinuteRow, serving.Progress) error {
	return fmt.Errorf("upsert: %w", ErrNotOwner)
}

func (c *client) LoadProgress(ctx context.Context) (serving.Progress, error) {
	var p serving.Progress
	if err := c.call(ctx, http.MethodGet, "/v1/progress", nil, &p); err != nil {
		return serving.Progress{}, fmt.Errorf("load progress: %w", err)
	}
	return p, nil
}

func (c *client) Epoch(ctx context.Context) (uint64, error) {
	var epoch uint64
	if err := c.call(ctx, http.MethodGet, "/v1/epoch", nil, &epoch); err != nil {
		return 0, fmt.Errorf("load the epoch: %w", err)
	}
	return epoch, nil
}

func (c *client) Rows(ctx context.Context, layer serving.Layer, r serving.Range) iter.Seq2[schemas.MinuteRow, error] {
	return rowsByExport(ctx, c.tempDir, func(path string) error { return c.ExportParquet(ctx, layer, r, path) })
}

func (c *client) ExportParquet(ctx context.Context, layer serving.Layer, r serving.Range, path string) error {
	query := url.Values{"layer": {string(layer)}, "from": {itoa(r.FromMillis)}, "to": {itoa(r.ToMillis)}}
	body, err := c.do(ctx, http.MethodGet, "/v1/rows?"+query.Encode(), nil)
	if err != nil {
		return fmt.Errorf("export rows to %s: %w", path, err)
	}
	defer body.Close()
	tmp, err := tempName(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("export rows to %s: %w", path, err)
	}
	if err = copyToFile(tmp, body); err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("export rows to %s: %w", path, err), removeIfThere(tmp))
	}
	return nil
}

func (c *client) PublishFinal(ctx context.Context, day serving.FinalDay, rows []schemas.MinuteRow) error {
	reader, writer := io.Pipe()
	go func() { writer.CloseWithError(writeRows(writer, rows)) }()
	defer reader.Close() // ends the writer where the request ended first
	query := url.Values{"day": {itoa(day.DayMillis)}, "cut": {itoa(day.CutMillis)}}
	var ok bool
	if err := c.call(ctx, http.MethodPost, "/v1/final?"+query.Encode(), reader, &ok); err != nil {
		return fmt.Errorf("publish final rows through the owner: %w", err)
	}
	return nil
}

func (c *client) Query(ctx context.Context, query string, args ...any) (*serving.Table, error) {
	var body bytes.Buffer
	for i := range args {
		args[i] = plain(args[i])
		if n, ok := args[i].(int); ok {
			args[i] = int64(n)
		}
	}
	if err := gob.NewEncoder(&body).Encode(queryRequest{query, args}); err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	var t serving.Table
	if err := c.call(ctx, http.MethodPost, "/v1/query", &body, &t); err != nil {
		return nil, err
	}
	return &t, nil
}

func (c *client) Close() error {
	c.http.CloseIdleConnections()
	if c.tempDir == "" {
		return nil
	}
	return os.RemoveAll(c.tempDir)
}

// call sends a request and reads the answer into result.
func (c *client) call(ctx context.Context, method, path string, body io.Reader, result any) error {
	answer, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer answer.Close()
	if err := gob.NewDecoder(answer).Decode(result); err != nil {
		return errors.Join(ErrOwnerGone, err)
	}
	return nil
}

// do sends a request and returns the body of a good answer.
func (c *client) do(ctx context.Context, method, path string, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, errors.Join(ErrOwnerGone, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, errorBytesMax))
	if resp.StatusCode == http.StatusForbidden {
		return nil, serving.ErrNotReadOnly
	}
	return nil, errors.Join(fmt.Errorf("owner: %s", strings.TrimSpace(string(text))), err)
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
