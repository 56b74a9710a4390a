package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/clickledger/clickledger/internal/money"
	"github.com/clickledger/clickledger/jobs/explain"
)

// millis is how event times are written: they have milliseconds.
const millis = "2006-01-02T15:04:05.000Z07:00"

func writeExplained(w io.Writer, r *explain.Report) error {
	fmt.Fprintf(w, "%s: %s\n", r.ClickID, r.Answer)
	for i := range r.Copies {
		if err := writeCopy(w, r, i); err != nil {
			return err
		}
	}
	if r.IsTruncated {
		fmt.Fprintf(w, "\nonly the first %d copies are shown\n", len(r.Copies))
	}
	writeUnasked(w, r.HasServing, r.HasLedger)
	for i := range r.Bills {
		if err := writeBill(w, &r.Bills[i]); err != nil {
			return err
		}
	}
	return nil
}

func writeUnasked(w io.Writer, hasServing, hasLedger bool) {
	if !hasServing {
		fmt.Fprint(w, "\nno serving store is configured: its rows are not shown\n")
	}
	if !hasLedger {
		fmt.Fprint(w, "\nno ledger is configured: entries are not shown\n")
	}
}

func writeBill(w io.Writer, b *explain.Bill) error {
	fmt.Fprintf(w, "\nledger, advertiser %s, %s\n", b.AdvertiserID, b.Date)
	if len(b.Entries) == 0 {
		fmt.Fprint(w, "  no entry\n")
		return nil
	}
	for i := range b.Entries {
		e := &b.Entries[i]
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		kind := e.Kind
		if e.OriginalEntryID != nil {
			kind += fmt.Sprintf(" to entry %d", *e.OriginalEntryID)
		}
		if e.IsSuspense {
			kind += ", in suspense"
		}
		fmt.Fprintf(table, "  entry %d\t%s of %s %s, the day then: %s for %d clicks\n", e.EntryID, kind,
			money.Micros(e.AmountMicros), e.Currency, money.Micros(e.DayMicros), e.DayClicks)
		fmt.Fprintf(table, "    posted\t%s by run %s, booked on %s\n", e.PostedAt.Format(time.RFC3339), e.RunID, e.BookingDate)
		for _, p := range e.Place.Postings {
			side := map[string]string{"D": "debit", "C": "credit"}[p.Side]
			fmt.Fprintf(table, "    %s\t%s %s, %s\n", side, p.AmountMicros, p.Currency, strings.TrimSpace(p.AccountKind+" "+p.AdvertiserID))
		}
		intact := "as posted"
		if !e.Place.IsIntact {
			intact = "CHANGED since it was posted"
		}
		fmt.Fprintf(table, "    hash\t%s, %s\n", e.Place.EntryHash, intact)
		fmt.Fprintf(table, "    chain\tlink %d of %d, entries %d to %d, %s\n", e.Place.LinkID, e.Place.HeadID, e.Place.FirstEntryID,
			e.Place.LastEntryID, e.Place.LinkHash)
		fmt.Fprintf(table, "    seal\t%s\n", cmp.Or(e.Place.SealHash, "none: the month is open"))
		if err := table.Flush(); err != nil {
			return err
		}
	}
	return nil
}

func writeCopy(w io.Writer, r *explain.Report, i int) error {
	c := &r.Copies[i]
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "\ncopy %d of %d\tpartition %d, offset %d\n", i+1, len(r.Copies), c.Partition, c.Offset)
	fmt.Fprintf(table, "  record\t%s\n", recordText(&c.Record))
	fmt.Fprintf(table, "  archive\t%s\n", cmp.Or(c.Object, "-"))
	fmt.Fprintf(table, "  received\t%s\n", c.ReceivedAt.Format(time.RFC3339Nano))
	if c.EventTime != nil {
		fmt.Fprintf(table, "  clicked\t%s, sent as %d %s\n", c.EventTime.Format(millis), c.Fields.Timestamp, c.Fields.TimestampUnit)
	}
	fmt.Fprintf(table, "  billing day\t%s\n", c.BillingDate)
	if c.Fields != nil {
		writeFields(table, c)
	}
	fmt.Fprintf(table, "  stream\t%s\n", verdictText(&c.Stream))
	fmt.Fprintf(table, "  batch\t%s\n", verdictText(&c.Batch))
	writeEvidence(table, &c.Evidence)
	if d := c.Difference; d != nil {
		fmt.Fprintf(table, "  difference\t%s: %+d clicks, %s (%s)\n", d.Cause, d.DeltaClicks, money.Micros(d.DeltaMicros), d.Basis)
	}
	if r.HasServing {
		fmt.Fprintf(table, "  row before\t%s\n", rowText(c.Provisional))
	}
	fmt.Fprintf(table, "  row of the batch\t%s\n", rowText(c.ByBatch))
	if r.HasServing {
		fmt.Fprintf(table, "  row after\t%s\n", rowText(c.Final))
	}
	return table.Flush()
}

func writeFields(w io.Writer, c *explain.Copy) {
	f := c.Fields
	cost := money.Micros(f.CostMicros).String()
	if c.EventTime == nil {
		cost = "none: a dead letter"
	}
	fmt.Fprintf(w, "  cost\t%s, sent as %s\n", cost, f.CostPerClick)
	address := f.IPAddress
	if f.Address != "" && f.Address != address {
		address += " = " + f.Address
	}
	for _, field := range [][2]string{
		{"advertiser", f.AdvertiserID}, {"campaign", f.CampaignID}, {"ad", f.AdID}, {"user", f.UserID}, {"address", address},
		{"user agent", f.UserAgent}, {"referrer", f.Referrer}, {"device", f.DeviceType}, {"country", f.CountryCode},
	} {
		if field[1] != "" {
			fmt.Fprintf(w, "  %s\t%q\n", field[0], field[1])
		}
	}
	if f.RevisionFrom != nil {
		fmt.Fprintf(w, "  policy\tits revision since %s\n", f.RevisionFrom.Format(time.RFC3339))
	}
}

func recordText(r *explain.Record) string {
	if r.Source == "" {
		return "no bytes: " + r.Note
	}
	text := fmt.Sprintf("%d bytes from the %s, key %q, SHA-256 %s", r.Bytes, map[string]string{"log": "log",
		"dead_letters": "archive's dead letters", "dlq": "archive of clicks.dlq"}[r.Source], r.Key, r.SHA256)
	if r.IsAsArchived != nil && !*r.IsAsArchived {
		return text + "; NOT what the archive holds"
	}
	return text + "; as archived"
}

func writeEvidence(w io.Writer, e *explain.Evidence) {
	if c := e.FirstCopy; c != nil {
		fmt.Fprintf(w, "  first copy\tpartition %d, offset %d, received %s, %s before this one (look-back %s), ad %q, cost %s, %s\n",
			c.Partition, c.Offset, c.ReceivedAt.Format(time.RFC3339Nano), c.Gap, c.Lookback, c.AdID, money.Micros(c.CostMicros), c.Verdict)
	}
	for i := range e.Velocity {
		writeVelocity(w, &e.Velocity[i])
	}
	for _, hit := range e.Lists {
		fmt.Fprintf(w, "  evidence\t%s: matches %q of list %s\n", hit.Rule, hit.Match, hit.Version)
	}
	if e.DeadLetter != "" {
		fmt.Fprintf(w, "  evidence\t%s\n", e.DeadLetter)
	}
	if l := e.Late; l != nil {
		newest := ""
		if l.NewestBefore != nil {
			newest = fmt.Sprintf("; its partition had come to %s", l.NewestBefore.Format(time.RFC3339Nano))
		}
		fmt.Fprintf(w, "  evidence\tlate: received %s after it happened (skew %s, allowed lateness %s)%s\n",
			l.Behind, l.AllowedSkew, l.AllowedLateness, newest)
	}
	if e.Note != "" {
		fmt.Fprintf(w, "  evidence\t%s\n", e.Note)
	}
}

func writeVelocity(w io.Writer, v *explain.Velocity) {
	fmt.Fprintf(w, "  evidence\t%s: %s on ad %s, click %d in %s where %d are allowed, cooling %s\n", v.Rule, v.Who, v.AdID, v.Count,
		v.Window, v.MaxClicks, v.Cooling)
	switch {
	case v.Trip == nil:
		fmt.Fprint(w, "  \tby the unique clicks of the batch the limit was not passed\n")
	case v.Trip.IsSelf:
		fmt.Fprint(w, "  \tit is itself over the limit\n")
	default:
		fmt.Fprintf(w, "  \tthe limit was passed at %s by %q, click %d in its window, partition %d, offset %d\n", v.Trip.EventTime.Format(millis),
			v.Trip.ClickID, v.Trip.Count, v.Trip.Partition, v.Trip.Offset)
	}
	if v.IsTruncated {
		fmt.Fprintf(w, "  \tthe last %d clicks of the window:\n", len(v.Clicks))
	}
	for i := range v.Clicks {
		k := &v.Clicks[i]
		late := ""
		if k.IsLate {
			late = ", late"
		}
		fmt.Fprintf(w, "  \t  %s  partition %d, offset %d  %q  %s%s\n", k.EventTime.Format(millis), k.Partition, k.Offset, k.ClickID, k.Batch, late)
	}
}

func verdictText(v *explain.Verdict) string {
	if v.Verdict == "" {
		return "not judged: " + v.Basis
	}
	text := v.Verdict
	switch {
	case len(v.Rules) > 0:
		text += ", by " + strings.Join(v.Rules, ", ")
	case v.Reason != "":
		text += ", " + v.Reason
	case v.Winner != nil:
		text += fmt.Sprintf(" of partition %d, offset %d", v.Winner.Partition, v.Winner.Offset)
	}
	if v.IsConflict {
		text += ", with another ad or cost"
	}
	if v.IsLate {
		text += ", late"
	}
	return text + " (" + v.Basis + ")"
}

func rowText(r *explain.Row) string {
	if r == nil {
		return "none"
	}
	return fmt.Sprintf("%s: %d clicks, %d billable, %d duplicates, %d invalid, %s", r.Minute.Format(time.RFC3339),
		r.RawClicks, r.UniqueClicks, r.DuplicateClicks, r.InvalidClicks, money.Micros(r.SpendMicros))
}
