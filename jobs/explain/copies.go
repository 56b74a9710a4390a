package explain

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/clickledger/clickledger/jobs/archive"
	"github.com/clickledger/clickledger/schemas"
	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

// copies are all records of the click_id, the first recorded first.
func (e *explainer) copies(ctx context.Context) (list []Copy, truncated bool, err error) {
	err = e.query(ctx, "explain_clicks", func(rows *sql.Rows) error {
		var c Copy
		var f Fields
		var received, event int64
		if err := rows.Scan(&c.Partition, &c.Offset, &received, &event, &f.AdID, &f.AdvertiserID, &f.CampaignID, &f.UserID,
			&f.IPAddress, &f.UserAgent, &f.DeviceType, &f.CountryCode, &f.CostMicros); err != nil {
			return err
		}
		c.Fields = &f
		c.setTimes(received, &event)
		list = append(list, c)
		return nil
	}, e.cfg.ClickID, copiesMax+1)
	if err != nil {
		return nil, false, err
	}
	decoder := schemas.NewDecoder(e.cfg.Policy)
	err = e.query(ctx, "explain_dead_letters", func(rows *sql.Rows) error {
		var c Copy
		var received int64
		var key, value []byte
		if err := rows.Scan(&c.Partition, &c.Offset, &received, &c.DeadLetter, &key, &value); err != nil {
			return err
		}
		if c.fromDeadLetter(decoder, e.cfg.ClickID, received, key, value) {
			list = append(list, c)
		}
		return nil
	}, e.cfg.ClickID, copiesMax+1)
	if err != nil {
		return nil, false, err
	}
	slices.SortFunc(list, func(a, b Copy) int {
		return cmp.Or(a.ReceivedAt.Compare(b.ReceivedAt), cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.Offset, b.Offset))
	})
	truncated = len(list) > copiesMax
	return list[:min(len(list), copiesMax)], truncated, nil
}

// fromDeadLetter fills in what a dead letter says; false where it is of another click_id. One that is
// no click by any policy belongs to the click_id of its key.
func (c *Copy) fromDeadLetter(decoder *schemas.Decoder, clickID string, received int64, key, value []byte) bool {
	c.setTimes(received, nil)
	var raw schemas.RawClick
	if err := raw.Unmarshal(value); err != nil {
		return string(key) == clickID
	}
	if string(raw.ClickID) != clickID {
		return false
	}
	c.Fields = &Fields{
		AdID: string(raw.AdID), AdvertiserID: string(raw.AdvertiserID), CampaignID: string(raw.CampaignID),
		UserID: string(raw.UserID), IPAddress: string(raw.IPAddress), UserAgent: string(raw.UserAgent),
		DeviceType: string(raw.DeviceType), CountryCode: string(raw.CountryCode),
	}
	record := schemas.Record{Position: c.position(), TimestampMicros: received, Key: key, Value: value}
	if click, reason := decoder.Decode(record); reason == "" { // the archiver judged by another policy
		c.Fields.CostMicros = click.CostMicros
		c.setTimes(received, &click.EventTimeMillis)
	}
	return true
}

func (c *Copy) setTimes(receivedMicros int64, eventMillis *int64) {
	c.ReceivedAt = time.UnixMicro(receivedMicros).UTC()
	c.BillingDate = c.ReceivedAt.Format(time.DateOnly)
	if eventMillis != nil {
		at := time.UnixMilli(*eventMillis).UTC()
		c.EventTime, c.BillingDate = &at, at.Format(time.DateOnly)
	}
}

// addObjects names the object of each copy, by the ranges in the objects' names.
func (e *explainer) addObjects(ctx context.Context, r *Report) error {
	for _, folder := range []string{archive.FolderClicks, archive.FolderDeadLetters} {
		files, _, err := archive.List(ctx, e.db.Store, folder)
		if err != nil {
			return err
		}
		for i := range r.Copies {
			c := &r.Copies[i]
			if (c.DeadLetter != "") != (folder == archive.FolderDeadLetters) {
				continue
			}
			for _, f := range files {
				if f.Partition == c.Partition && f.From <= c.Offset && c.Offset <= f.To {
					c.Object = f.Key(folder)
				}
			}
		}
	}
	return nil
}

// addStream adds the stream's verdicts: its decisions, and of a click without one that it is billable.
func (e *explainer) addStream(ctx context.Context, r *Report) error {
	decisions, err := e.decisions(ctx, "explain_decisions", e.cfg.ClickID)
	if err != nil {
		return err
	}
	var next map[int32]int64
	if e.deps.Serving != nil {
		progress, err := e.deps.Serving.LoadProgress(ctx)
		if err != nil {
			return err
		}
		next = progress.NextOffsets
	}
	for i := range r.Copies {
		c := &r.Copies[i]
		v, decided := decisions[c.position()]
		switch {
		case decided:
			v.Basis = "its decision in the archive"
		case c.DeadLetter != "":
			v = Verdict{Verdict: schemas.DeadLettered.String(), Reason: c.DeadLetter, Basis: "the archive holds it as a dead letter"}
		case e.deps.Serving != nil && c.Offset >= next[c.Partition]:
			v.Basis = "the stream has not published it yet"
		default:
			v = Verdict{Verdict: schemas.Billable.String(), Basis: "the archive holds no decision of the stream against it"}
		}
		c.Stream = v
	}
	return nil
}

// decisions runs a statement that gives decisions, by position.
func (e *explainer) decisions(ctx context.Context, statement string, args ...any) (map[schemas.Position]Verdict, error) {
	found := map[schemas.Position]Verdict{}
	err := e.query(ctx, statement, func(rows *sql.Rows) error {
		var at schemas.Position
		var v Verdict
		var w Position
		var rules string
		if err := rows.Scan(&at.Partition, &at.Offset, &v.Verdict, &rules, &v.IsLate, &w.Partition, &w.Offset,
			&v.IsConflict, &v.PolicyHash); err != nil {
			return err
		}
		if rules != "" {
			v.Rules = strings.Split(rules, ",")
		}
		if v.Verdict == schemas.Duplicate.String() {
			v.Winner = &w
		}
		found[at] = v
		return nil
	}, args...)
	return found, err
}

func (e *explainer) query(ctx context.Context, statement string, each func(*sql.Rows) error, args ...any) (err error) {
	rows, err := e.db.Conn.QueryContext(ctx, sqlduck.SQL(statement), args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
