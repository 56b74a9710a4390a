package ledgerpg

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/clickledger/clickledger/internal/money"
	sqlpostgres "github.com/clickledger/clickledger/sql/postgres"
)

// maxNameCharacters is the lesson's VARCHAR(255).
const maxNameCharacters = 255

// Advertiser is a row to register.
type Advertiser struct {
	ID, Name string
	// CreditLimitMicros is kept to the cent; 0 means the default of 1000.
	CreditLimitMicros money.Micros
}

// RegisterAdvertisers adds advertisers and returns how many were new. Who is registered already
// stays as he is. Charges in suspense are moved by MoveSuspense, not here.
func (l *Ledger) RegisterAdvertisers(ctx context.Context, advertisers []Advertiser) (int, error) {
	for _, advertiser := range advertisers {
		if !validID(advertiser.ID) || advertiser.Name == "" || len([]rune(advertiser.Name)) > maxNameCharacters ||
			advertiser.CreditLimitMicros < 0 {
			return 0, fmt.Errorf("register advertiser %q: %w", advertiser.ID, ErrInvalid)
		}
	}
	added := 0
	err := l.inTransaction(ctx, func(tx pgx.Tx) (bool, error) {
		if _, err := tx.Exec(ctx, sqlpostgres.Query("create_advertiser_stage")); err != nil {
			return false, err
		}
		source := pgx.CopyFromSlice(len(advertisers), func(i int) ([]any, error) {
			advertiser := &advertisers[i]
			var limit any
			if advertiser.CreditLimitMicros > 0 {
				limit = advertiser.CreditLimitMicros.Format()
			}
			return []any{advertiser.ID, advertiser.Name, limit}, nil
		})
		columns := []string{"id", "name", "credit_limit"}
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{"advertiser_stage"}, columns, source); err != nil {
			return false, err
		}
		tag, err := tx.Exec(ctx, sqlpostgres.Query("insert_advertisers"))
		added = int(tag.RowsAffected())
		return true, err
	})
	if err != nil {
		return 0, fmt.Errorf("register %d advertisers: %w", len(advertisers), l.explain(err))
	}
	return added, nil
}
