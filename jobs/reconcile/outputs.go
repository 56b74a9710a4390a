package reconcile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/internal/reconcileduck"
)

// Names of the outputs beside the batch's result. The report is written last: where it is, the
// others are.
const (
	ReportFile        = "report.json"
	PageFile          = "report.html"
	DiscrepanciesFile = "discrepancies.parquet"
)

// write writes the outputs. Each appears whole or not at all.
func (r *run) write(ctx context.Context, rep *Report, compared *reconcileduck.Result) error {
	rows, err := os.ReadFile(r.temp(DiscrepanciesFile))
	if err != nil {
		return fmt.Errorf("read discrepancies: %w", err)
	}
	doc, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	var html bytes.Buffer
	if err := writePage(&html, rep, compared, r.batch.Result.InvalidByRule); err != nil {
		return fmt.Errorf("write %s: %w", PageFile, err)
	}
	for _, out := range []struct {
		name string
		data []byte
	}{{DiscrepanciesFile, rows}, {PageFile, html.Bytes()}, {ReportFile, append(doc, '\n')}} {
		if err := r.put(ctx, rep, out.name, out.data); err != nil {
			return fmt.Errorf("write %s: %w", out.name, err)
		}
	}
	return nil
}

func (r *run) put(ctx context.Context, rep *Report, name string, data []byte) error {
	if r.cfg.ReportPath == "" {
		_, err := r.store.Put(ctx, rep.Result+"/"+name, data, objectstore.PutOptions{})
		return err
	}
	path := r.cfg.ReportPath
	if name != ReportFile {
		path = filepath.Join(filepath.Dir(path), name)
	}
	return writeFile(path, data)
}

// writeFile replaces a file by way of a temporary one beside it.
func writeFile(path string, data []byte) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = temp.Write(data)
	err = errors.Join(err, temp.Chmod(0o644), temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}
