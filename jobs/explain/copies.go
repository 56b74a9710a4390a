package explain

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/clickledger/clickledger/jobs/archive"
	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
	sqlduck "github.com/clickledger/clickledger/sql/duckdb"
)

// copies are all records of the click_id, the first recorded first.
func (e *explainer) copies(ctx context.Context) (list []Copy, truncated bool, err error) {
	err = e.query(ctx, "explain_clicks", func(rows *sql.Rows) error {
		var c Copy
		var f Fields
		var received, event int64
		var cost float64
		if err := rows.Scan(&c.Partition, &c.Offset, &received, &event, &f.AdID, &f.AdvertiserID, &f.CampaignID, &f.UserID,
			&f.IPAddress, &f.UserAgent, &f.Referrer, &f.DeviceType, &f.CountryCode, &f.CostMicros, &f.Timestamp, &cost); err != nil {
			return err
		}
		c.Fields = &f
		c.setTimes(received, &event)
		f.derive(cost, e.cfg.Policy)
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
		if err := rows.Scan(&c.Partition, &c.Offset, &received, &c.DeadLetter, &c.key, &c.value); err != nil {
			return err
		}
		if c.fromDeadLetter(decoder, e.cfg.Policy, e.cfg.ClickID, received) {
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
func (c *Copy) fromDeadLetter(decoder *schemas.Decoder, p *policy.Policy, clickID string, received int64) bool {
	c.setTimes(received, nil)
	var raw schemas.RawClick
	if err := raw.Unmarshal(c.value); err != nil {
		return string(c.key) == clickID
	}
	if string(raw.ClickID) != clickID {
		return false
	}
	c.Fields = &Fields{
		AdID: string(raw.AdID), AdvertiserID: string(raw.AdvertiserID), CampaignID: string(raw.CampaignID),
		UserID: string(raw.UserID), IPAddress: string(raw.IPAddress), UserAgent: string(raw.UserAgent),
		Referrer: string(raw.Referrer), DeviceType: string(raw.DeviceType), CountryCode: string(raw.CountryCode),
		Timestamp: raw.Timestamp,
	}
	c.Fields.derive(raw.CostPerClick, p)
	record := schemas.Record{Position: c.position(), TimestampMicros: received, Key: c.key, Value: c.value}
	if click, reason := decoder.Decode(record); reason == "" { // the archiver judged by another policy
		c.Fields.CostMicros = click.CostMicros
		c.setTimes(received, &click.EventTimeMillis)
	}
	return true
}

// derive fills in how the fields were read.
func (f *Fields) derive(cost float64, p *policy.Policy) {
	f.CostPerClick = strconv.FormatFloat(cost, 'g', -1, 64)
	switch {
	case f.Timestamp < 1e11:
		f.TimestampUnit = "seconds"
	case f.Timestamp < 1e14:
		f.TimestampUnit = "milliseconds"
	default:
		f.TimestampUnit = "microseconds"
	}
	if addr, ok := canonical(f.IPAddress); ok {
		f.Address = addr.String()
	}
	from := p.At(schemas.EventTimeMillis(f.Timestamp)).EffectiveFrom
	f.RevisionFrom = &from
}

func (c *Copy) setTimes(receivedMicros int64, eventMillis *int64) {
	c.ReceivedAt = time.UnixMicro(receivedMicros).UTC()
	c.BillingDate = c.ReceivedAt.Format(time.DateOnly)
	if eventMillis != nil {
		at := time.UnixMilli(*eventMillis).UTC()
		c.EventTime, c.BillingDate = &at, at.Format(time.DateOnly)
	}
}

// objects are the archive's files of clicks and dead letters, listed once.
func (e *explainer) objects(ctx context.Context, folder string) ([]archive.File, error) {
	if files, ok := e.files[folder]; ok {
		return files, nil
	}
	files, _, err := archive.List(ctx, e.db.Store, folder)
	if err != nil {
		return nil, err
	}
	e.files[folder] = files
	return files, nil
}

// object is the key of the object whose name covers the position; empty where none does.
func (e *explainer) object(ctx context.Context, folder string, at schemas.Position) (string, error) {
	files, err := e.objects(ctx, folder)
	if err != nil {
		return "", err
	}
	i := sort.Search(len(files), func(i int) bool { // by partition and offset
		return files[i].Partition > at.Partition || files[i].Partition == at.Partition && files[i].To >= at.Offset
	})
	if i == len(files) || files[i].Partition != at.Partition || files[i].From > at.Offset {
		return "", nil
	}
	return files[i].Key(folder), nil
}

// addObjects names the object of each copy.
func (e *explainer) addObjects(ctx context.Context, r *Report) (err error) {
	for i := range r.Copies {
		c := &r.Copies[i]
		folder := archive.FolderClicks
		if c.DeadLetter != "" {
			folder = archive.FolderDeadLetters
		}
		if c.Object, err = e.object(ctx, folder, c.position()); err != nil {
			return err
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
	if err := e.loadProgress(ctx); err != nil {
		return err
	}
	for i := range r.Copies {
		c := &r.Copies[i]
		v, decided := decisions[c.position()]
		switch {
		case decided:
			v.Basis = "its decision in the archive"
		case c.DeadLetter != "":
			v = Verdict{Verdict: schemas.DeadLettered.String(), Reason: c.DeadLetter, Basis: "the archive holds it as a dead letter"}
		case e.notPublished(c.position()):
			v.Basis = "the stream has not published it yet"
		default:
			v = Verdict{Verdict: schemas.Billable.String(), Basis: "the archive holds no decision of the stream against it"}
		}
		c.Stream = v
	}
	return nil
}

func (e *explainer) loadProgress(ctx context.Context) error {
	if e.deps.Serving == nil {
		return nil
	}
	progress, err := e.deps.Serving.LoadProgress(ctx)
	e.next = progress.NextOffsets
	return err
}

// notPublished: the stream has not come as far, as far as the serving store says.
func (e *explainer) notPublished(at schemas.Position) bool {
	return e.deps.Serving != nil && at.Offset >= e.next[at.Partition]
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

func (e *explainer) exec(ctx context.Context, statement string) error {
	_, err := e.db.Conn.ExecContext(ctx, sqlduck.SQL(statement))
	return err
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
