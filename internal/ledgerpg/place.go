package ledgerpg

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/clickledger/clickledger/internal/money"
)

// Place is where an entry stands in the chain. All hashes are hexadecimal.
type Place struct {
	EntryID   int64  `json:"entry_id" db:"entry_id"`
	EntryHash string `json:"entry_hash" db:"entry_hash"`
	// IsIntact: the entry and its postings, hashed again, give EntryHash. The chain as a whole is
	// what Verify checks.
	IsIntact bool `json:"is_intact" db:"is_intact"`
	// LinkID is the link that covers the entry, with those from FirstEntryID to LastEntryID.
	LinkID       int64     `json:"link_id" db:"link_id"`
	LinkHash     string    `json:"link_hash" db:"link_hash"`
	PreviousHash string    `json:"previous_hash" db:"previous_hash"` // of the link before; empty for the first
	FirstEntryID int64     `json:"first_entry_id" db:"first_entry_id"`
	LastEntryID  int64     `json:"last_entry_id" db:"last_entry_id"`
	LinkedAt     time.Time `json:"linked_at" db:"linked_at"`
	// HeadID is the newest link, which covers this one and all after it.
	HeadID   int64  `json:"head_id" db:"head_id"`
	HeadHash string `json:"head_hash" db:"head_hash"`
	// SealHash is that of the entry's day of booking; empty while its month is open.
	SealHash string `json:"seal_hash" db:"seal_hash"`

	Postings []Posting `json:"postings" db:"-"`
}

// Posting is one leg of an entry.
type Posting struct {
	Leg          int          `json:"leg" db:"leg"`
	AccountKind  string       `json:"account_kind" db:"account_kind"`
	AdvertiserID string       `json:"advertiser_id" db:"advertiser_id"` // empty: an account of the house
	Side         string       `json:"side" db:"side"`                   // D or C
	Currency     string       `json:"currency" db:"currency"`
	AmountMicros money.Micros `json:"amount_micros" db:"amount_micros"`
}

// Place returns where an entry stands in the chain, with its postings. The error wraps ErrUnknown
// where there is no such entry.
func (l *Ledger) Place(ctx context.Context, entryID int64) (Place, error) {
	var place Place
	err := l.inSnapshot(ctx, func(tx pgx.Tx) error {
		places, err := collect[Place](ctx, tx, "select_entry_place", entryID)
		if err != nil {
			return err
		}
		if len(places) == 0 {
			return ErrUnknown
		}
		place = places[0]
		place.Postings, err = collect[Posting](ctx, tx, "select_postings", entryID)
		return err
	})
	if err != nil {
		return Place{}, fmt.Errorf("read the place of entry %d: %w", entryID, l.explain(err))
	}
	place.LinkedAt = place.LinkedAt.UTC()
	return place, nil
}
