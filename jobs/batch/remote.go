package batch

import (
	"context"
	"slices"

	"github.com/clickledger/clickledger/internal/duckscan"
	"github.com/clickledger/clickledger/internal/objectstore"
)

// reach makes the files that are read in any case readable by DuckDB: where the extension for it is
// configured it reads a bucket itself, else they are copied.
func (s *session) reach(ctx context.Context, conn *duckscan.Conn) error {
	s.markRead(s.main, s.reviving())
	access, isReachable, err := objectstore.DuckDBOf(s.store)
	if err != nil {
		return err
	}
	if isReachable {
		for _, statement := range access.Statements {
			if err := conn.Exec(statement); err != nil {
				return access.Redact(err)
			}
		}
		for _, files := range [][]File{s.clicks, s.deadLetters, s.main} {
			for i := range files {
				files[i].Path, files[i].isRemote = s.store.URL(files[i].Key), true
			}
		}
		return nil
	}
	first := s.clicks[:min(1, len(s.clicks))] // which tells the types of the columns
	return Localize(ctx, s.store, slices.Concat(first, s.main, s.reviving()))
}

// need makes the click files readable that may hold times of received_at in the span.
func (s *session) need(ctx context.Context, received span) error {
	files := s.within(received)
	s.markRead(files)
	return Localize(ctx, s.store, files)
}

// markRead notes on which files the verdicts rest, for the manifest.
func (s *session) markRead(lists ...[]File) {
	for _, files := range lists {
		for i := range files {
			s.isRead[files[i].Key] = true
		}
	}
}

// within are the click files that may hold times of received_at in the span.
func (s *session) within(received span) []File {
	var files []File
	for _, f := range s.clicks {
		if f.Rows > 0 && overlaps(f.Received, received) {
			files = append(files, f)
		}
	}
	return files
}
