package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/clickledger/clickledger/internal/devservices"
	"github.com/clickledger/clickledger/internal/kafkaio"
)

const (
	// devPartitions is how many partitions a topic gets that is created.
	devPartitions = 4
	// devStatusTimeout bounds the answers of all services together.
	devStatusTimeout = 5 * time.Second
)

// devResult is the result of the group's commands.
type devResult struct {
	DryRun      bool                `json:"dry_run,omitempty"`
	Dir         string              `json:"dir"`
	Config      string              `json:"config"`
	Environment string              `json:"environment"`
	Services    []devservices.State `json:"services"`
}

func newDevUpCommand(a *app) *cobra.Command {
	var opts devOptions
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start the services that do not run, and wait until all answer",
		Long: `Fetches what is missing, starts what does not run, and returns when every service
has answered a real question: metadata, a row, a list of buckets, a PONG. Makes
the topics, the bucket and the serving store's database. Running it again is
safe, whatever state the last run, a crash or kill -9 has left: what runs stays,
what does not is started on its old data.

Flink, with Beam's job server, is started where --only names it: it takes 1.9 GB of
memory and Java, and fetches 390 MB more.

The first run fetches 270 MB and builds the S3 gateway, some minutes in all.
Needed are mvn and Java 17, npm, go, and for Redis the package redis-server, which
root gets by apt.

It writes clickledger.yaml, which names the services, into the folder; on the
default ports scripts/services.yaml names the same. Tables of ledger and serving
store are made by "clickledger migrate".`,
		Example: `  clickledger dev up
  clickledger dev up --only kafka,redis
  clickledger dev up --only kafka,clickhouse,s3,redis,postgres,flink
  clickledger dev up --dir /tmp/second --port-base 31000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDevUp(a, cmd, opts, dryRun) },
	}
	addDev(cmd, &opts)
	addDryRun(cmd, &dryRun)
	return cmd
}

func runDevUp(a *app, cmd *cobra.Command, opts devOptions, dryRun bool) error {
	stack, parts, err := openDev(opts)
	if err != nil {
		return err
	}
	if !dryRun {
		began := time.Now()
		report := func(name, text string) {
			fmt.Fprintf(a.err, "%6.1fs  %-10s  %s\n", time.Since(began).Seconds(), name, text)
		}
		if err := stack.Up(cmd.Context(), parts, report); err != nil {
			return err
		}
		if err := makeDevTopics(cmd.Context(), parts); err != nil {
			return err
		}
	}
	result := devStatus(cmd.Context(), stack, parts)
	result.DryRun = dryRun
	return a.result(result, func(w io.Writer) error {
		if err := result.writeTable(w); err != nil {
			return err
		}
		if dryRun {
			_, err := fmt.Fprintln(w, "\ndry run: what is down would be fetched and started")
			return err
		}
		_, err := fmt.Fprintf(w, "\nnext: clickledger demo --config %s\n", result.Config)
		return err
	})
}

// makeDevTopics makes the topics of the log, if a log is among the parts.
func makeDevTopics(ctx context.Context, parts []devservices.Part) error {
	i := slices.IndexFunc(parts, func(p devservices.Part) bool { return p.Name() == "kafka" })
	if i < 0 {
		return nil
	}
	brokers, err := kafkaio.ParseURL(parts[i].Address())
	if err != nil {
		return err
	}
	return kafkaio.EnsureTopics(ctx, brokers, devPartitions)
}

func newDevStatusCommand(a *app) *cobra.Command {
	var opts devOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Ask every service whether it answers",
		Long: `Asks every service a real question, and lists what came back:

  up        it answers
  foreign   it answers, but was not started by "dev up" here: Docker's, say
  silent    its process runs and gives no right answer: starting, or stuck
  down      nothing runs

The exit code is 1 if one of the services that were asked does not answer.`,
		Example: `  clickledger dev status
  clickledger dev status --only kafka --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			stack, parts, err := openDev(opts)
			if err != nil {
				return err
			}
			result := devStatus(cmd.Context(), stack, running(cmd.Context(), opts, stack, parts))
			if err := a.result(result, result.writeTable); err != nil {
				return err
			}
			silent := 0
			for _, s := range result.Services {
				if !s.Answers() {
					silent++
				}
			}
			if silent > 0 {
				return fmt.Errorf("%d of %d services do not answer", silent, len(result.Services))
			}
			return nil
		},
	}
	addDev(cmd, &opts)
	return cmd
}

func newDevDownCommand(a *app) *cobra.Command {
	var opts devOptions
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "Stop the services that dev up started; their data stays",
		Long: `Ends the recorded processes, and waits until they are gone. A process is ended
only if it is the one that was started, not another with its number. Data stays
in the folder, for the next "dev up"; to begin anew, remove the folder.`,
		Example: `  clickledger dev down
  clickledger dev down --only redis`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			stack, parts, err := openDev(opts)
			if err != nil {
				return err
			}
			parts = running(cmd.Context(), opts, stack, parts)
			if !dryRun {
				// Down ends whatever it has begun to end: Ctrl-C stops only the waiting for it.
				err := stack.Down(cmd.Context(), parts, func(name, text string) { fmt.Fprintf(a.err, "%-10s  %s\n", name, text) })
				if err != nil {
					return err
				}
			}
			result := devStatus(cmd.Context(), stack, parts)
			result.DryRun = dryRun
			return a.result(result, result.writeTable)
		},
	}
	addDev(cmd, &opts)
	addDryRun(cmd, &dryRun)
	return cmd
}

func devStatus(ctx context.Context, stack *devservices.Stack, parts []devservices.Part) devResult {
	ctx, cancel := context.WithTimeout(ctx, devStatusTimeout)
	defer cancel()
	cfg := stack.Config()
	return devResult{
		Dir: cfg.Dir, Config: cfg.File(), Environment: cfg.EnvironmentFile(), Services: stack.Status(ctx, parts),
	}
}

func (r devResult) writeTable(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "service\tstate\tanswer\tpid\tversion\taddress\n")
	var problems []error
	for _, s := range r.Services {
		answer, pid := "-", "-"
		if s.AnswerMillis > 0 {
			answer = fmt.Sprintf("%.1f ms", s.AnswerMillis)
		}
		if s.PID > 0 {
			pid = fmt.Sprint(s.PID)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, s.State, answer, pid, s.Version, s.Address)
		if s.Error != "" {
			problems = append(problems, fmt.Errorf("%s: %s; its log is %s", s.Name, s.Error, s.Log))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if err := errors.Join(problems...); err != nil {
		_, err = fmt.Fprintf(w, "\n%v\n", err)
		return err
	}
	return nil
}
