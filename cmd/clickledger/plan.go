package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/clickledger/clickledger/internal/kafkaio"
)

// logPlan is what a job that reads the log would find there.
type logPlan struct {
	DryRun     bool            `json:"dry_run"`
	Log        string          `json:"log"`
	Partitions []partitionPlan `json:"partitions"`
}

type partitionPlan struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	First     int64  `json:"first_offset"`
	End       int64  `json:"end_offset"`
}

// planLog reads the ends of all partitions of the topics, for --dry-run.
func planLog(ctx context.Context, url string, topics ...string) (logPlan, error) {
	plan := logPlan{DryRun: true, Log: url}
	brokers, err := kafkaio.ParseURL(url)
	if err != nil {
		return plan, err
	}
	client, err := kafkaio.Connect(ctx, brokers, kafkaio.Options{})
	if err != nil {
		return plan, err
	}
	defer client.Close()
	for _, topic := range topics {
		partitions, err := client.Partitions(ctx, topic)
		if err != nil {
			return plan, err
		}
		for _, id := range partitions {
			first, end, err := client.Offsets(ctx, topic, id)
			if err != nil {
				return plan, err
			}
			plan.Partitions = append(plan.Partitions, partitionPlan{Topic: topic, Partition: id, First: first, End: end})
		}
	}
	return plan, nil
}

func (p logPlan) writeText(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "dry run: the log %s holds\n", p.Log)
	for _, part := range p.Partitions {
		fmt.Fprintf(table, "%s\tpartition %d\toffsets %d to %d\n", part.Topic, part.Partition, part.First, part.End)
	}
	return table.Flush()
}
