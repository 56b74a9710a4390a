package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/clickledger/clickledger/internal/ledgerpg"
	"github.com/clickledger/clickledger/jobs/analyst"
	"github.com/clickledger/clickledger/jobs/batch"
)

// problemsMax bounds the differences that a report names.
const problemsMax = 100

// Verifiable is what verification needs of the ledger.
type Verifiable interface {
	Verify(ctx context.Context) (ledgerpg.VerifyReport, error)
	FindLink(ctx context.Context, linkHash string) (int64, error)
	SettledResults(ctx context.Context, query ledgerpg.SettledQuery) ([]ledgerpg.SettledResult, error)
	DayTotals(ctx context.Context, day time.Time) ([]ledgerpg.DayTotal, error)
}

// VerifyConfig says what to compare the ledger with, beside itself.
type VerifyConfig struct {
	// Archive holds the batch's results. Empty: they are not compared.
	analyst.Config
	// Head is the hash of a link that was noted before; empty checks none.
	Head string
	// SkipObjects leaves out the bytes of the archive's objects that the results were made from.
	SkipObjects bool
}

// Verification is the outcome of Verify.
type Verification struct {
	IsSound bool `json:"is_sound"`
	ledgerpg.VerifyReport

	// IsHeadFound: the chain still has the link that was asked for, HeadLinkID.
	HeadLinkID  int64 `json:"head_link_id,omitempty"`
	IsHeadFound *bool `json:"is_head_found,omitempty"`

	// TiedDays are days whose entries were compared with the result that they were posted from,
	// UntiedDays days whose result the batch wrote to another place than the archive.
	TiedDays   int      `json:"tied_days"`
	UntiedDays []string `json:"untied_days"`
	// ComparedObjects are objects of the archive whose bytes were compared with what the results read.
	ComparedObjects int `json:"compared_objects"`
	// Differences name files of results and objects of the archive that were changed, and advertisers'
	// days that are not what the result says; at most 100.
	Differences     []string `json:"differences"`
	DifferenceCount int      `json:"difference_count"`
}

// Verify recomputes the ledger, and compares each day with the batch's result that it was posted from.
// What is wrong is in the report; an error means that verifying itself failed.
func Verify(ctx context.Context, cfg VerifyConfig, ledger Verifiable) (_ *Verification, err error) {
	v := &Verification{UntiedDays: []string{}, Differences: []string{}}
	if v.VerifyReport, err = ledger.Verify(ctx); err != nil {
		return nil, err
	}
	if cfg.Head != "" {
		if v.HeadLinkID, err = ledger.FindLink(ctx, cfg.Head); err != nil {
			return nil, err
		}
		isFound := v.HeadLinkID != 0
		v.IsHeadFound = &isFound
	}
	if cfg.Archive != "" {
		if err := v.tie(ctx, cfg, ledger); err != nil {
			return nil, err
		}
	}
	v.IsSound = v.OK() && v.DifferenceCount == 0 && (v.IsHeadFound == nil || *v.IsHeadFound)
	return v, nil
}

func (v *Verification) differsf(format string, args ...any) {
	v.DifferenceCount++
	if len(v.Differences) < problemsMax {
		v.Differences = append(v.Differences, fmt.Sprintf(format, args...))
	}
}

// tie compares every settled day with its result.
func (v *Verification) tie(ctx context.Context, cfg VerifyConfig, ledger Verifiable) (err error) {
	settled, err := ledger.SettledResults(ctx, ledgerpg.SettledQuery{First: time.Unix(0, 0), Last: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil || len(settled) == 0 {
		return err
	}
	db, err := analyst.OpenWithoutViews(ctx, cfg.Config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	verifier := &batch.Verifier{Store: db.Store}
	defer func() { v.take(verifier) }()
	for _, r := range settled {
		day := r.BillingDate.Format(time.DateOnly)
		if !isInArchive(r) {
			v.UntiedDays = append(v.UntiedDays, day)
			continue
		}
		isIntact, err := v.tieFiles(ctx, verifier, r)
		if err != nil {
			return err
		}
		if !isIntact {
			continue
		}
		v.TiedDays++
		if err := v.tieDay(ctx, db, ledger, r); err != nil {
			return fmt.Errorf("tie %s: %w", day, err)
		}
	}
	if cfg.SkipObjects {
		return nil
	}
	return verifier.VerifyObjects(ctx)
}

// take adds what was found wrong with files.
func (v *Verification) take(verifier *batch.Verifier) {
	for _, problem := range verifier.Problems {
		v.differsf("%s", problem)
	}
	v.DifferenceCount += verifier.Count - len(verifier.Problems)
	v.ComparedObjects = verifier.Objects
}

// tieFiles compares the result's files with their digests in its manifests, and the batch's with the
// settlement.
func (v *Verification) tieFiles(ctx context.Context, verifier *batch.Verifier, r ledgerpg.SettledResult) (bool, error) {
	before := verifier.Count
	manifest, err := verifier.VerifyResult(ctx, r.Result+"/")
	if err != nil || manifest == nil {
		return false, err
	}
	if r.ResultHash != nil && *r.ResultHash != manifest.Digest {
		v.differsf("%s/%s: not the result that settlement %d posted", r.Result, batch.ManifestFile, r.SettlementID)
		return false, nil
	}
	return verifier.Count == before, nil
}

// tieDay compares what the ledger holds for a day with the sums of the result's rows. Who was held is
// as an earlier run left him.
func (v *Verification) tieDay(ctx context.Context, db *analyst.Database, ledger Verifiable, r ledgerpg.SettledResult) error {
	path, err := batch.LocalCopy(ctx, db.Store, r.Result+"/"+batch.MinutesFile, db.Dir)
	if err != nil {
		return err
	}
	bills := map[string]int64{}
	err = each(ctx, db.Conn, "statement_bills", func(rows *sql.Rows) error {
		var id string
		var micros int64
		err := rows.Scan(&id, &micros)
		bills[id] = micros
		return err
	}, path, cutMillis(r))
	if err != nil {
		return err
	}
	totals, err := ledger.DayTotals(ctx, r.BillingDate)
	if err != nil {
		return err
	}
	day := r.BillingDate.Format(time.DateOnly)
	isHeld := func(id string) bool { return slices.Contains(r.Held, id) }
	for _, t := range totals {
		if want := bills[t.AdvertiserID]; int64(t.SpendMicros) != want && !isHeld(t.AdvertiserID) {
			v.differsf("%s advertiser %s: the ledger holds %d micros, %s says %d", day, t.AdvertiserID, t.SpendMicros, r.Result, want)
		}
		delete(bills, t.AdvertiserID)
	}
	missing := make([]string, 0, len(bills))
	for id := range bills {
		if !isHeld(id) {
			missing = append(missing, id)
		}
	}
	slices.Sort(missing)
	for _, id := range missing {
		v.differsf("%s advertiser %s: the ledger holds nothing, %s says %d", day, id, r.Result, bills[id])
	}
	return nil
}
