package clickhouseio

import (
	"context"
	"fmt"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/serving"
)

// UpsertRows stores provisional rows as Upsert does, without a word on the progress: for workers of
// several processes that write the rows of one stream. Progress is then one worker's, who calls
// StoreProgress when the rows that it speaks of are stored.
func (s *Store) UpsertRows(ctx context.Context, rows []schemas.MinuteRow) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.upsertRows(ctx, rows); err != nil {
		return fmt.Errorf("upsert %d rows: %w", len(rows), err)
	}
	return nil
}

// StoreProgress stores the progress alone, unless the stored one, which another process may have
// written, is further by the same policy: a worker that was thought dead does not take it back.
func (s *Store) StoreProgress(ctx context.Context, progress serving.Progress) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	var stored serving.Progress
	err := s.retry(ctx, "load progress", func() (err error) {
		stored, s.sequence[clicksStream], err = s.loadProgress(ctx, clicksStream)
		return err
	})
	if err == nil && stored.PolicyHash == progress.PolicyHash && stored.WatermarkMillis > progress.WatermarkMillis {
		return nil
	}
	if err == nil {
		err = s.storeProgress(ctx, clicksStream, progress)
	}
	if err != nil {
		return fmt.Errorf("store progress: %w", err)
	}
	return nil
}
