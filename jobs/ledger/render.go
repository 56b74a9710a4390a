package ledger

import (
	_ "embed"
	"encoding/csv"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/clickledger/clickledger/internal/money"
)

// WriteText writes a statement for a terminal.
func (s *Statement) WriteText(w io.Writer) error {
	state := "open: it may still change"
	if s.IsClosed {
		state = "closed"
	}
	fmt.Fprintf(w, "Statement of %s (%s) for %s, %s; amounts in %s\n\n", quote(s.Name), quote(s.AdvertiserID), s.Month, state, s.Currency)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "opening balance\t%s\t\n", s.OpeningBalance)
	fmt.Fprintf(table, "charges\t%s\t\n", money.Micros(-s.ChargedMicros))
	fmt.Fprintf(table, "adjustments\t%s\t\n", sumOf(s.Adjustments))
	fmt.Fprintf(table, "payments\t%s\t\n", sumOf(s.Payments))
	fmt.Fprintf(table, "closing balance\t%s\t\n", s.ClosingBalance)
	if err := table.Flush(); err != nil {
		return err
	}
	if s.SuspenseMicros != 0 {
		fmt.Fprintf(w, "in suspense, not part of the balance: %s\n", money.Micros(s.SuspenseMicros))
	}
	fmt.Fprint(w, "\nCharges by campaign\n")
	fmt.Fprint(table, "campaign\tclicks\tduplicates\tinvalid\tbilled\tamount\t\n")
	for _, c := range s.Campaigns {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%s\t\n", quote(c.CampaignID), c.Clicks, c.DuplicateClicks, c.InvalidClicks,
			c.BillableClicks, money.Micros(c.SpendMicros))
	}
	if s.UnattributedMicros != 0 {
		fmt.Fprintf(table, "not attributed\t\t\t\t\t%s\t\n", money.Micros(s.UnattributedMicros))
	}
	fmt.Fprintf(table, "total\t\t\t\t\t%s\t\n", money.Micros(s.ChargedMicros))
	if err := table.Flush(); err != nil {
		return err
	}
	if err := writeInvalid(w, s.Invalid); err != nil {
		return err
	}
	if err := writeItems(w, "Adjustments and credits", s.Adjustments); err != nil {
		return err
	}
	return writeItems(w, "Payments", s.Payments)
}

func writeInvalid(w io.Writer, invalid []InvalidClicks) error {
	fmt.Fprint(w, "\nInvalid clicks, not charged (a click that several rules hit is in each)\n")
	if len(invalid) == 0 {
		_, err := fmt.Fprint(w, "  none\n")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "campaign\trule\tclicks\twould have cost\t\n")
	for _, i := range invalid {
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t\n", quote(i.CampaignID), i.Rule, i.Clicks, money.Micros(i.CostMicros))
	}
	return table.Flush()
}

func writeItems(w io.Writer, title string, items []Item) error {
	fmt.Fprintf(w, "\n%s\n", title)
	if len(items) == 0 {
		_, err := fmt.Fprint(w, "  none\n")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, i := range items {
		fmt.Fprintf(table, "  entry %d\t%s\t%s\t%s\t%s\n", i.EntryID, i.BookingDate, i.Kind, money.Micros(i.AmountMicros), i.Text())
	}
	return table.Flush()
}

// Text says what an entry is about.
func (i Item) Text() string {
	text := "for clicks of " + i.BillingDate
	if i.Reference != "" {
		text = quote(i.Reference)
	}
	if i.OriginalEntryID != 0 && i.Kind != "reversal" {
		text += fmt.Sprintf(", to entry %d", i.OriginalEntryID)
	}
	if i.Reason != "" {
		text += ": " + quote(i.Reason)
	}
	return text
}

func sumOf(items []Item) money.Micros {
	var sum money.Micros
	for _, i := range items {
		sum += money.Micros(i.AmountMicros)
	}
	return sum
}

// quote keeps a name as it is where it is plain, and shows what would disturb a line.
func quote(text string) string {
	if quoted := strconv.Quote(text); quoted != `"`+text+`"` {
		return quoted
	}
	return text
}

// WriteCSV writes a statement as one table; the column section says what a row is.
func (s *Statement) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	rows := [][]string{
		{"section", "id", "date", "kind", "clicks", "billed_clicks", "duplicate_clicks", "invalid_clicks", "amount", "currency", "text"},
		{"opening_balance", "", s.Month + "-01", "", "", "", "", "", s.OpeningBalance, s.Currency, ""},
	}
	for _, c := range s.Campaigns {
		rows = append(rows, []string{"campaign", cell(c.CampaignID), s.Month, "charge", number(c.Clicks), number(c.BillableClicks),
			number(c.DuplicateClicks), number(c.InvalidClicks), money.Micros(-c.SpendMicros).String(), s.Currency, ""})
	}
	if s.UnattributedMicros != 0 {
		rows = append(rows, []string{"unattributed", "", s.Month, "charge", "", "", "", "", money.Micros(-s.UnattributedMicros).String(), s.Currency, ""})
	}
	rows = append(rows, invalidRows(s.Invalid, s.Month, s.Currency)...)
	rows = append(rows, itemRows("adjustment", s.Adjustments, s.Currency)...)
	rows = append(rows, itemRows("payment", s.Payments, s.Currency)...)
	rows = append(rows, []string{"closing_balance", "", s.Month, "", "", "", "", "", s.ClosingBalance, s.Currency, ""})
	if err := out.WriteAll(rows); err != nil {
		return err
	}
	return out.Error()
}

func invalidRows(invalid []InvalidClicks, month, currency string) [][]string {
	rows := make([][]string, len(invalid))
	for i, c := range invalid {
		rows[i] = []string{"invalid_not_charged", cell(c.CampaignID), month, c.Rule, strconv.FormatInt(c.Clicks, 10), "0", "",
			strconv.FormatInt(c.Clicks, 10), "0", currency, "would have cost " + money.Micros(c.CostMicros).String()}
	}
	return rows
}

func itemRows(section string, items []Item, currency string) [][]string {
	rows := make([][]string, len(items))
	for i, item := range items {
		rows[i] = []string{section, strconv.FormatInt(item.EntryID, 10), item.BookingDate, item.Kind, "", "", "", "",
			money.Micros(item.AmountMicros).String(), currency, cell(item.Text())}
	}
	return rows
}

// cell keeps a spreadsheet from taking a name for a formula.
func cell(text string) string {
	if text != "" && (text[0] == '=' || text[0] == '+' || text[0] == '-' || text[0] == '@') {
		return "'" + text
	}
	return text
}

//go:embed statement.html.tmpl
var pageText string

var page = template.Must(template.New("statement").Funcs(template.FuncMap{
	"micros": func(m int64) string { return money.Micros(m).String() },
	"owed":   func(m int64) string { return money.Micros(-m).String() },
	"sum":    sumOf,
}).Parse(pageText))

// WriteHTML writes a page that needs nothing else, and prints as an invoice.
func (s *Statement) WriteHTML(w io.Writer) error { return page.Execute(w, s) }
