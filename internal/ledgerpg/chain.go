package ledgerpg

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	sqlpostgres "github.com/clickledger/clickledger/sql/postgres"
)

// Head is the newest link of the chain. Whoever keeps its hash elsewhere can prove later that nothing
// up to it was changed or taken away.
type Head struct {
	LinkID int64 `json:"link_id" db:"link_id"` // 0: the ledger is empty
	// LinkHash is 64 hexadecimal digits.
	LinkHash         string    `json:"link_hash" db:"link_hash"`
	LastEntryID      int64     `json:"last_entry_id" db:"last_entry_id"`
	LastSettlementID int64     `json:"last_settlement_id" db:"last_settlement_id"`
	LastPeriodID     int64     `json:"last_period_id" db:"last_period_id"`
	LinkedAt         time.Time `json:"linked_at" db:"linked_at"`
}

// Head returns the newest link.
func (l *Ledger) Head(ctx context.Context) (Head, error) {
	newest, err := head(ctx, l.pool)
	if err != nil {
		return Head{}, fmt.Errorf("read the chain's head: %w", l.explain(err))
	}
	return newest, nil
}

func head(ctx context.Context, from querier) (Head, error) {
	heads, err := collect[Head](ctx, from, "select_head")
	if err != nil || len(heads) == 0 {
		return Head{}, err
	}
	heads[0].LinkedAt = heads[0].LinkedAt.UTC()
	return heads[0], nil
}

// FindLink returns the number of the link with this hash, 0 where the chain has none: then rows up to
// it were changed or taken away since the hash was noted. The error wraps ErrInvalid for what is no
// hash.
func (l *Ledger) FindLink(ctx context.Context, linkHash string) (int64, error) {
	if raw, err := hex.DecodeString(linkHash); err != nil || len(raw) != 32 {
		return 0, fmt.Errorf("find link %q: not 64 hexadecimal digits: %w", linkHash, ErrInvalid)
	}
	var linkID int64
	err := l.pool.QueryRow(ctx, sqlpostgres.Query("select_link"), linkHash).Scan(&linkID)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("find link: %w", l.explain(err))
	}
	return linkID, nil
}
