package ledgerpg

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"
)

// unlockTimeout bounds the giving back of a lock, which happens while the program ends as well.
const unlockTimeout = 5 * time.Second

// LockJob makes sure that one job of a name runs on the ledger at a time: it takes an advisory lock of
// the session, which the server gives free when the process ends, however it ends. ok is false where
// another session has it. The caller calls unlock once. It holds one connection until then, and needs
// a server that keeps sessions (no pooler that shares them between transactions).
func (l *Ledger) LockJob(ctx context.Context, name string) (unlock func() error, ok bool, err error) {
	conn, err := l.pool.Acquire(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("lock job %s: %w", name, l.explain(err))
	}
	key := fnv.New64a()
	_, _ = key.Write([]byte("clickledger/" + name)) // never fails
	id := int64(key.Sum64())
	if err := conn.QueryRow(ctx, "select pg_try_advisory_lock($1)", id).Scan(&ok); err != nil || !ok {
		conn.Release()
		if err != nil {
			err = fmt.Errorf("lock job %s: %w", name, l.explain(err))
		}
		return nil, false, err
	}
	return func() error {
		defer conn.Release()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unlockTimeout)
		defer cancel()
		var held bool
		err := conn.QueryRow(ctx, "select pg_advisory_unlock($1)", id).Scan(&held)
		if err == nil && !held {
			err = fmt.Errorf("the lock was lost before the end")
		}
		if err != nil {
			return fmt.Errorf("unlock job %s: %w", name, l.explain(err))
		}
		return nil
	}, true, nil
}
