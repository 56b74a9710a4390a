package clickhouseio

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"syscall"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/cenkalti/backoff/v5"
)

const (
	retryPause    = 50 * time.Millisecond
	retryPauseMax = 3 * time.Second
)

// transientCodes are those of the server's exceptions that pass by themselves.
var transientCodes = []int32{
	3,   // UNEXPECTED_END_OF_FILE
	159, // TIMEOUT_EXCEEDED
	202, // TOO_MANY_SIMULTANEOUS_QUERIES
	209, // SOCKET_TIMEOUT
	210, // NETWORK_ERROR
	236, // ABORTED
	241, // MEMORY_LIMIT_EXCEEDED
	242, // TABLE_IS_READ_ONLY
	252, // TOO_MANY_PARTS
	319, // UNKNOWN_STATUS_OF_INSERT
	425, // SYSTEM_ERROR
	999, // KEEPER_EXCEPTION
}

// isTransient says whether the same call may succeed a little later.
func isTransient(err error) bool {
	if e, ok := errors.AsType[*clickhouse.Exception](err); ok {
		return slices.Contains(transientCodes, e.Code)
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	return slices.ContainsFunc([]error{
		io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE,
		clickhouse.ErrAcquireConnTimeout, clickhouse.ErrAcquireConnNoAddress, clickhouse.ErrConnectionClosed,
	}, func(known error) bool { return errors.Is(err, known) })
}

// retry calls work until it succeeds, fails for good, or has been tried for RetryFor. All that is
// called so can be repeated: after a lost connection nobody knows what the server has done.
func (s *Store) retry(ctx context.Context, what string, work func() error) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = retryPause, retryPauseMax
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := work()
		if err != nil && (ctx.Err() != nil || !isTransient(err)) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(s.opts.RetryFor), backoff.WithNotify(func(err error, pause time.Duration) {
		s.opts.Logger.Warn("the serving store is away, trying again", "operation", what, "pause", pause, "error", err)
	}))
	if permanent, ok := errors.AsType[*backoff.PermanentError](err); ok {
		return permanent.Unwrap()
	}
	return err
}
