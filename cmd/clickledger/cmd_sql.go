package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/jobs/analyst"
)

const queryBytesMax = 1 << 20

// table is an answer in memory, the document that --json prints.
type table struct {
	Columns     []analyst.Column `json:"columns"`
	Rows        [][]any          `json:"rows"`
	IsTruncated bool             `json:"is_truncated"` // there were more rows than --limit
}

var errEnough = errors.New("enough rows")

func newSQLCommand(a *app) *cobra.Command {
	var asCSV bool
	var limit int
	cmd := &cobra.Command{
		Use:   "sql [QUERY]",
		Short: "Ask the archive a question in SQL",
		Long: `Runs one reading statement of DuckDB's SQL over the archive and prints its rows.
The query is the argument, or comes on stdin. The views are

  clicks        the valid clicks, with dt, hr and p of their folders
  dead_letters  what is no valid click, with its reason and raw bytes
  decisions     the stream's verdicts on clicks that are not billed, or late
  dlq           the topic clicks.dlq: whole records of what is not billed
  minutes       the rows of the newest batch result of each day

Nothing can be written. A table and --json hold at most --limit rows; --csv holds
all of them.`,
		Example: `  clickledger sql --archive file:///data/archive 'select dt, count(*) from clicks group by dt order by dt'
  cat report.sql | clickledger sql --config clickledger.yaml --csv
  clickledger sql --config clickledger.yaml --json "select reason, count(*) from dead_letters group by 1"`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runSQL(a, cmd, args, asCSV, limit) },
	}
	cmd.Flags().BoolVar(&asCSV, "csv", false, "print comma-separated values, with a header")
	cmd.Flags().IntVar(&limit, "limit", 10_000, "the most rows of a table or of --json")
	addSettings(cmd, "batch.memory_limit", "batch.threads", "batch.temp_dir")
	addS3(cmd)
	return cmd
}

func runSQL(a *app, cmd *cobra.Command, args []string, asCSV bool, limit int) (err error) {
	cfg, _, err := a.begin(cmd, "archive")
	if err != nil {
		return err
	}
	if asCSV && a.json {
		return &config.ExitError{Code: config.ExitUsage, Err: errors.New("takes --csv or --json, not both")}
	}
	if limit < 1 || limit > 10_000_000 {
		return config.Problems{{
			Key: "limit", Source: "flag --limit", Value: fmt.Sprint(limit), Expected: "a whole number from 1 to 10000000",
		}}
	}
	query, err := queryText(args)
	if err != nil {
		return err
	}
	if err := archiveExists(cfg.Archive); err != nil {
		return err
	}
	db, err := analyst.Open(cmd.Context(), analystConfig(cfg))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if asCSV {
		return writeCSV(a, cmd, db, query)
	}
	answer := table{Columns: []analyst.Column{}, Rows: [][]any{}}
	err = db.Query(cmd.Context(), query, func(columns []analyst.Column) error {
		answer.Columns = columns
		return nil
	}, func(row []any) error {
		if len(answer.Rows) == limit {
			answer.IsTruncated = true
			return errEnough
		}
		answer.Rows = append(answer.Rows, slices.Clone(row))
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	return a.result(answer, func(w io.Writer) error { return writeTable(w, &answer) })
}

// queryText is the argument, or what stdin holds.
func queryText(args []string) (string, error) {
	var text string
	if len(args) == 1 {
		text = args[0]
	} else {
		data, err := io.ReadAll(io.LimitReader(os.Stdin, queryBytesMax+1))
		if err != nil {
			return "", fmt.Errorf("read query: %w", err)
		}
		if len(data) > queryBytesMax {
			return "", fmt.Errorf("read query: longer than %d bytes", queryBytesMax)
		}
		text = string(data)
	}
	if strings.TrimSpace(text) == "" {
		return "", &config.ExitError{Code: config.ExitUsage, Err: errors.New("needs a query, as its argument or on stdin")}
	}
	return text, nil
}

func writeCSV(a *app, cmd *cobra.Command, db *analyst.Database, query string) error {
	a.line.Close()
	out := csv.NewWriter(a.out)
	var record []string
	err := db.Query(cmd.Context(), query, func(columns []analyst.Column) error {
		record = make([]string, len(columns))
		for i, c := range columns {
			record[i] = c.Name
		}
		return out.Write(record)
	}, func(row []any) error {
		for i, v := range row {
			record[i] = valueText(v, "")
		}
		return out.Write(record)
	})
	out.Flush()
	return errors.Join(err, out.Error())
}

// valueText is a value as a table shows it.
func valueText(v any, null string) string {
	switch v := v.(type) {
	case nil:
		return null
	case string:
		return v
	case []any, map[string]any:
		doc, err := json.Marshal(v)
		if err != nil {
			return fmt.Sprint(v)
		}
		return string(doc)
	}
	return fmt.Sprint(v)
}

// writeTable aligns the columns, numbers to the right. What would break a line is written as its
// escape.
func writeTable(w io.Writer, t *table) error {
	clean := strings.NewReplacer("\n", `\n`, "\r", `\r`, "\t", `\t`, "\x1b", `\x1b`)
	cells := make([][]string, 0, len(t.Rows)+1)
	widths, right := make([]int, len(t.Columns)), make([]bool, len(t.Columns))
	add := func(cell func(i int) string) {
		line := make([]string, len(t.Columns))
		for i := range line {
			line[i] = clean.Replace(cell(i))
			widths[i] = max(widths[i], utf8.RuneCountInString(line[i]))
		}
		cells = append(cells, line)
	}
	add(func(i int) string { return t.Columns[i].Name })
	for _, row := range t.Rows {
		add(func(i int) string { return valueText(row[i], "NULL") })
	}
	for i, c := range t.Columns {
		right[i] = strings.HasSuffix(c.Type, "INT") || strings.HasSuffix(c.Type, "INTEGER") ||
			strings.HasPrefix(c.Type, "DECIMAL") || c.Type == "DOUBLE" || c.Type == "FLOAT"
	}
	var b strings.Builder
	for n, line := range cells {
		for i, cell := range line {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if right[i] {
				cell = pad + cell
			} else if i < len(line)-1 {
				cell += pad
			}
			if i > 0 {
				b.WriteString("  ")
			}
			b.WriteString(cell)
		}
		b.WriteByte('\n')
		if n == 0 {
			for i, width := range widths {
				if i > 0 {
					b.WriteString("  ")
				}
				b.WriteString(strings.Repeat("-", width))
			}
			b.WriteByte('\n')
		}
	}
	more := ""
	if t.IsTruncated {
		more = ", and there are more: see --limit and --csv"
	}
	fmt.Fprintf(&b, "(%d rows%s)\n", len(t.Rows), more)
	_, err := io.WriteString(w, b.String())
	return err
}
