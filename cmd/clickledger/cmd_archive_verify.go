package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/config"
	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/jobs/archive"
	"github.com/clickledger/clickledger/jobs/batch"
)

func newArchiveVerifyCommand(a *app) *cobra.Command {
	var quick bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Prove that the archive holds every record exactly once",
		Long: `Reads the listing, every footer and every offset of the archive, and proves that
the files of each partition have no gap and no overlap, and that each offset is
there once. With --log it also compares with what the log still holds.

It also reads every byte: objects must be what their seals say, and what the batch
found them to be; the results of the batch, and what reconcile put beside them, what
their manifests say. What was changed is named. --quick leaves that out.

The exit code is 3 if the archive is broken; the report says where.`,
		Example: `  clickledger archive verify --archive file:///data/archive
  clickledger archive verify --config clickledger.yaml --json
  clickledger archive verify --config clickledger.yaml --quick`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, logger, err := a.begin(cmd, "archive")
			if err != nil {
				return err
			}
			report, err := archive.Verify(cmd.Context(),
				archive.Config{Log: cfg.Log, Archive: cfg.Archive, Bytes: !quick}, archive.Deps{Logger: logger})
			if report == nil {
				return err
			}
			result := archiveReport{Report: report}
			if !quick {
				if err := result.verifyResults(cmd.Context(), cfg.Archive); err != nil {
					return err
				}
			}
			switch {
			case errors.Is(err, archive.ErrBroken):
				err = &config.ExitError{Code: config.ExitDiscrepancies, Err: err}
			case err == nil && len(report.Problems) > 0:
				err = &config.ExitError{Code: config.ExitDiscrepancies, Err: fmt.Errorf("%s: %s", cfg.Archive, report.Problems[0])}
			}
			return errors.Join(a.result(result, func(w io.Writer) error { return writeArchiveReport(w, &result) }), err)
		},
	}
	cmd.Flags().BoolVar(&quick, "quick", false, "read footers and offsets only")
	return cmd
}

// archiveReport is the outcome of archive verify.
type archiveReport struct {
	*archive.Report
	// Results are those of the batch whose files were compared with their manifests, Objects those of the
	// archive that were compared with what a result has read.
	Results int `json:"results"`
	Objects int `json:"objects"`
}

// verifyResults adds what is wrong with the results, and with what they rest on.
func (r *archiveReport) verifyResults(ctx context.Context, url string) error {
	store, err := objectstore.Open(ctx, url)
	if err != nil {
		return err
	}
	v := batch.Verifier{Store: store, Known: r.Digests}
	if err := v.VerifyAll(ctx); err != nil {
		return err
	}
	r.Results, r.Objects, r.Problems = v.Results, v.Objects, append(r.Problems, v.Problems...)
	if more := v.Count - len(v.Problems); more > 0 {
		r.Problems = append(r.Problems, fmt.Sprintf("and %d more", more))
	}
	return nil
}

func writeArchiveReport(w io.Writer, r *archiveReport) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "topic\tpartition\tfiles\tfrom\tto\trecords\tdead letters\tbehind\t\n")
	for _, p := range r.Partitions {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n",
			p.Topic, p.Partition, p.Files, p.From, p.To, p.Records, p.DeadLetters, p.Behind)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, problem := range r.Problems {
		fmt.Fprintf(w, "problem: %s\n", problem)
	}
	for _, key := range r.Pending {
		fmt.Fprintf(w, "pending: %s: it is claimed, and not there yet or no longer\n", key)
	}
	compared := "not compared with a log"
	if r.LogChecked {
		compared = "compared with the log"
	}
	if r.BytesChecked {
		fmt.Fprintf(w, "every byte was read; %d objects were compared with %d results, %d have no seal\n", r.Objects, r.Results, r.Unsealed)
	}
	_, err := fmt.Fprintf(w, "%d problems, %d pending, %s\n", len(r.Problems), len(r.Pending), compared)
	return err
}
