package batch

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	"github.com/clickledger/clickledger/internal/duckscan"
	"github.com/clickledger/clickledger/schemas"
)

// output collects rows and decisions in DuckDB, which sorts and writes them at the end.
type output struct {
	mu        sync.Mutex
	conn      *duckscan.Conn
	minutes   *duckscan.Appender
	decisions *duckscan.Appender
	rowCount  int64
}

const (
	createMinutes = `create table minutes (click_minute bigint, advertiser_id varchar, campaign_id varchar, ad_id varchar,
		device_type varchar, country_code varchar, raw_clicks bigint, duplicate_clicks bigint, invalid_clicks bigint,
		unique_clicks bigint, spend_micros bigint)`
	createDecisions = `create table decisions (partition integer, "offset" bigint, click_id varchar, verdict varchar, rules utinyint,
		winner_partition integer, winner_offset bigint, is_conflict boolean)`
	createDead = `create table dead (partition integer, "offset" bigint, received_at bigint, reason varchar)`
)

func (o *output) open(db *duckscan.DB) (err error) {
	if o.conn, err = db.Connect(); err != nil {
		return err
	}
	for _, ddl := range []string{createMinutes, createDecisions, createDead} {
		if err := o.conn.Exec(ddl); err != nil {
			return err
		}
	}
	const text, number = duckscan.Varchar, duckscan.BigInt
	if o.minutes, err = o.conn.Append("minutes", number, text, text, text, text, text, number, number, number, number, number); err != nil {
		return err
	}
	o.decisions, err = o.conn.Append("decisions", duckscan.Integer, number, text, text, duckscan.UTinyInt,
		duckscan.Integer, number, duckscan.Boolean)
	return err
}

// rows keeps the final totals of one block.
func (o *output) rows(b *schemas.RowBlock) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range b.Len() {
		row, err := o.minutes.Row()
		if err != nil {
			return err
		}
		fields, err := schemas.RowKeyFields(b.RowKey.At(i))
		if err != nil {
			return err
		}
		duckscan.Set(o.minutes, 0, row, b.MinuteMillis[i])
		for j, f := range fields {
			o.minutes.SetText(1+j, row, f)
		}
		for j, v := range [...]int64{b.Raw[i], b.Duplicates[i], b.Invalid[i], b.Unique[i], b.SpendMicros[i]} {
			duckscan.Set(o.minutes, 6+j, row, v)
		}
		o.rowCount++
	}
	return nil
}

// decision keeps the verdict on one click that is not billed.
func (o *output) decision(b *schemas.Block, i int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	row, err := o.decisions.Row()
	if err != nil {
		return err
	}
	duckscan.Set(o.decisions, 0, row, b.Partition[i])
	duckscan.Set(o.decisions, 1, row, b.Offset[i])
	o.decisions.SetText(2, row, b.ClickID.At(i))
	o.decisions.SetText(3, row, []byte(b.Verdict[i].String()))
	duckscan.Set(o.decisions, 4, row, uint8(b.Rules[i]))
	duckscan.Set(o.decisions, 5, row, b.WinnerPartition[i])
	duckscan.Set(o.decisions, 6, row, b.WinnerOffset[i])
	duckscan.Set(o.decisions, 7, row, b.Flags[i]&schemas.FlagConflict != 0)
	return nil
}

// write sorts and writes the three Parquet files into dir.
func (o *output) write(dir string, dead []schemas.DeadLetter) error {
	if err := o.finish(dead); err != nil {
		return err
	}
	rules := make([]string, len(schemas.RuleNames))
	for i, name := range schemas.RuleNames {
		rules[i] = fmt.Sprintf("case when rules & %d != 0 then '%s' end", 1<<i, name)
	}
	for name, query := range map[string]string{
		"minutes": `select make_timestamp(click_minute * 1000) as click_minute, * exclude (click_minute) from minutes
			order by click_minute, advertiser_id, campaign_id, ad_id, device_type, country_code`,
		"decisions": `select partition, "offset", click_id, verdict, list_filter([` + strings.Join(rules, ", ") + `], x -> x is not null) as rules,
			winner_partition, winner_offset, is_conflict from decisions order by partition, "offset"`,
		"dead_letters": `select partition, "offset", make_timestamptz(received_at) as received_at, reason from dead order by partition, "offset"`,
	} {
		path := strings.ReplaceAll(filepath.Join(dir, name+".parquet"), "'", "''")
		if err := o.conn.Exec("copy (" + query + ") to '" + path + "' (format parquet, compression zstd)"); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
	}
	return nil
}

// closeAppenders makes all rows and decisions part of the tables.
func (o *output) closeAppenders() error {
	var problems []error
	for _, a := range []**duckscan.Appender{&o.minutes, &o.decisions} {
		if *a != nil {
			problems = append(problems, (*a).Close())
			*a = nil
		}
	}
	return errors.Join(problems...)
}

func (o *output) finish(dead []schemas.DeadLetter) error {
	if err := o.closeAppenders(); err != nil {
		return err
	}
	letters, err := o.conn.Append("dead", duckscan.Integer, duckscan.BigInt, duckscan.BigInt, duckscan.Varchar)
	if err != nil {
		return err
	}
	for _, l := range dead {
		row, err := letters.Row()
		if err != nil {
			return err
		}
		duckscan.Set(letters, 0, row, l.Partition)
		duckscan.Set(letters, 1, row, l.Offset)
		duckscan.Set(letters, 2, row, l.ReceivedAtMicros)
		letters.SetText(3, row, []byte(l.Reason))
	}
	return letters.Close()
}

func (o *output) close() {
	for _, a := range []*duckscan.Appender{o.minutes, o.decisions} {
		if a != nil {
			_ = a.Close() // the run has failed already, and its tables are dropped
		}
	}
	if o.conn != nil {
		o.conn.Close()
	}
}
