package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"

	"github.com/clickledger/clickledger/internal/bench"
)

// The ways that are measured, in order.
const (
	nameLoop       = "loop"
	nameStream     = "stream"
	nameStreamRows = "stream+rows"
	nameBatch      = "batch"
	nameSQL        = "sql"
	// nameFlink is measured where it is asked for alone: it needs a cluster.
	nameFlink = "stream-flink"
)

// runAll prepares the log once in each form, then measures the ways one after the other.
func runAll(ctx context.Context, s settings, only []string) (_ *bench.Report, err error) {
	for _, name := range only {
		if !slices.Contains([]string{nameLoop, nameStream, nameStreamRows, nameBatch, nameSQL, nameFlink, namePost}, name) {
			return nil, fmt.Errorf("--only: there is no %q", name)
		}
	}
	wanted := func(names ...string) bool {
		return len(only) == 0 || slices.ContainsFunc(names, func(n string) bool { return slices.Contains(only, n) })
	}
	if s.Dir, err = os.MkdirTemp("", "clickledger-bench-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.Dir)) }()
	if s.Profile != "" {
		if err := os.MkdirAll(s.Profile, 0o755); err != nil {
			return nil, err
		}
	}
	report := &bench.Report{Machine: bench.Machine{Cores: runtime.NumCPU(), GoVersion: runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH}}
	measure := func(name string) error {
		figures, err := s.phase(ctx, name)
		if err == nil {
			report.Figures = append(report.Figures, figures.Figures)
		}
		return err
	}
	if wanted(nameLoop) {
		if err := measure(nameLoop); err != nil {
			return nil, err
		}
	}
	if wanted(nameStream, nameStreamRows) || slices.Contains(only, nameFlink) {
		if err := s.streams(ctx, wanted, slices.Contains(only, nameFlink), report); err != nil {
			return nil, err
		}
	}
	if err := s.batches(ctx, wanted, measure); err != nil {
		return nil, err
	}
	if wanted(namePost) {
		if report.Posting, err = s.post(ctx); err != nil {
			return nil, err
		}
	}
	report.Settings = s.Settings
	for _, pair := range [][2]string{{nameStream, nameLoop}, {nameStreamRows, nameLoop}, {nameStreamRows, nameStream},
		{nameBatch, nameLoop}, {nameBatch, nameSQL}, {nameSQL, nameLoop}} {
		report.Compare(pair[0], pair[1])
	}
	return report, report.Check()
}

// batches measures the batch and plain SQL over one archive.
func (s *settings) batches(ctx context.Context, wanted func(...string) bool, measure func(string) error) error {
	if !wanted(nameBatch, nameSQL) {
		return nil
	}
	archived, err := s.phase(ctx, phaseArchive)
	if err != nil {
		return err
	}
	s.RecordBytes = archived.Bytes / float64(max(1, archived.Totals.Records))
	for _, name := range []string{nameBatch, nameSQL} {
		if wanted(name) {
			if err := measure(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// streams measures the stream with and without a serving store, off one broker.
func (s *settings) streams(ctx context.Context, wanted func(...string) bool, onFlink bool, report *bench.Report) (err error) {
	b, err := s.startBroker(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.stop()) }()
	s.URL = b.url
	loaded, err := s.phase(ctx, phaseLoad)
	if err != nil {
		return err
	}
	s.RecordBytes = loaded.Bytes / float64(max(1, loaded.Totals.Records))
	for _, name := range []string{nameStream, nameStreamRows, nameFlink} {
		if name == nameFlink && !onFlink || name != nameFlink && !wanted(name) {
			continue
		}
		before, err := b.cpu()
		if err != nil {
			return err
		}
		figures, err := s.phase(ctx, name)
		if err != nil {
			return err
		}
		after, err := b.cpu()
		if err != nil {
			return err
		}
		figures.BrokerCPUSeconds = (after - before).Seconds()
		report.Figures = append(report.Figures, figures.Figures)
	}
	return nil
}
