package main

import (
	"fmt"
	"strconv"

	"github.com/clickledger/clickledger/schemas"
)

// checkDecisions holds the archived decisions to the provisional rows: each click that is not billed has one
// position among them, whatever the number of copies, and the copies are alike.
func (f *faults) checkDecisions(records int64) {
	f.Helper()
	var got table
	startJSON(f.T, f.env, &got, "sql", `with positions as (
			select "partition", "offset", count(*) as copies, arg_max(verdict, log_offset) as verdict, arg_max(is_late, log_offset) as is_late,
				count(distinct (click_id, event_time, verdict, coalesce(rules, ''), is_late, winner_partition, winner_offset,
					is_conflict, policy_hash)) as kinds
			from decisions group by all)
		select verdict, is_late, count(*)::bigint as positions, sum(copies)::bigint as copies,
			count(*) filter (where kinds > 1)::bigint as differing
		from positions group by all order by all`)
	positions := map[string]int64{}
	for _, row := range got.Rows {
		f.Logf("decisions: %s, late %v: %v positions, %v copies", row[:4]...)
		positions[row[0].(string)] += int64(row[2].(float64))
		if row[4] != float64(0) {
			f.Errorf("%s, late %v: the copies of %v decisions differ", row[0], row[1], row[4])
		}
	}
	// A click is late by what its own partition held before it: such as an outage's, behind newer ones.
	var missing table
	startJSON(f.T, f.env, &missing, "sql", `with late as (select distinct "partition", "offset" from decisions where is_late),
			measured as (
				select "partition", "offset", event_time,
					max(date_trunc('milliseconds', received_at)) over (partition by "partition" order by "offset"
						rows between unbounded preceding and 1 preceding) as before
				from clicks)
		select count(*) from measured anti join late using ("partition", "offset") where event_time < before - interval 2 seconds`)
	if missing.Rows[0][0] != float64(0) {
		f.Errorf("%v clicks that the log has behind its watermark have no decision that says so", missing.Rows[0][0])
	}
	sums := f.query(`select sum(duplicate_clicks), sum(invalid_clicks), sum(raw_clicks) from ad_clicks_hourly final format TabSeparated`)
	var duplicates, invalid, raw int64
	if _, err := fmt.Sscan(sums[0], &duplicates, &invalid, &raw); err != nil {
		f.Fatal(err)
	}
	late := records - f.deadLetters() - raw
	if positions[schemas.Duplicate.String()] != duplicates || positions[schemas.Invalid.String()] != invalid || positions[schemas.Late.String()] != late {
		f.Errorf("decisions on %v; rows have %d duplicates and %d invalid clicks, and lack %d late ones", positions, duplicates, invalid, late)
	}
}

// deadLetters is how many dead letters are archived.
func (f *faults) deadLetters() int64 {
	f.Helper()
	var got table
	startJSON(f.T, f.env, &got, "sql", "select count(*)::varchar as n from dead_letters")
	n, err := strconv.ParseInt(got.Rows[0][0].(string), 10, 64)
	if err != nil {
		f.Fatal(err)
	}
	return n
}
