package stream

import (
	"context"
	"errors"
	"sync"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

// errNotShared is for a store that belongs to one process.
var errNotShared = errors.New("serving: this runner needs a serving store that several processes can write: clickhouse://host:port/database")

// rowStore is a serving store whose rows are written by many and whose progress by one.
type rowStore interface {
	// UpsertRows stores rows as serving.Store's Upsert does.
	UpsertRows(ctx context.Context, rows []schemas.MinuteRow) error
	// StoreProgress stores the progress; one that is behind the stored one is left out.
	StoreProgress(ctx context.Context, progress serving.Progress) error
	LoadProgress(ctx context.Context) (serving.Progress, error)
}

// shared returns the store as one that rows and progress are written to apart. One that cannot do that
// by itself is written by this process alone.
func shared(store serving.Store) rowStore {
	if store == nil {
		return nil
	}
	if s, ok := store.(rowStore); ok {
		return s
	}
	return &ownedStore{store: store}
}

// ownedStore is a store of this process, all of whose writers are here.
type ownedStore struct {
	store serving.Store

	mu       sync.Mutex
	progress serving.Progress
	isLoaded bool
}

func (o *ownedStore) UpsertRows(ctx context.Context, rows []schemas.MinuteRow) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.load(ctx); err != nil {
		return err
	}
	return o.store.Upsert(ctx, rows, o.progress)
}

func (o *ownedStore) StoreProgress(ctx context.Context, progress serving.Progress) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.load(ctx); err != nil {
		return err
	}
	if o.progress.PolicyHash == progress.PolicyHash && o.progress.WatermarkMillis > progress.WatermarkMillis {
		return nil
	}
	if err := o.store.Upsert(ctx, nil, progress); err != nil {
		return err
	}
	o.progress = progress
	return nil
}

func (o *ownedStore) LoadProgress(ctx context.Context) (serving.Progress, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	err := o.load(ctx)
	return o.progress, err
}

func (o *ownedStore) load(ctx context.Context) (err error) {
	if !o.isLoaded {
		o.progress, err = o.store.LoadProgress(ctx)
		o.isLoaded = err == nil
	}
	return err
}
