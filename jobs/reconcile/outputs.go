package reconcile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/internal/reconcileduck"
	"github.com/clickledger/clickledger/jobs/batch"
)

// Names of the outputs beside the batch's result. The report is written last: where it is, the
// others are.
const (
	ReportFile        = "report.json"
	PageFile          = "report.html"
	DiscrepanciesFile = "discrepancies.parquet"
	ManifestFile      = batch.ReconcileManifestFile
)

// Manifest is what a reconciliation went by, and what came out.
type Manifest struct {
	Version          string `json:"version"`       // of the program
	Result           string `json:"result"`        // the batch's
	ResultSHA256     string `json:"result_sha256"` // of its manifest
	PolicyHash       string `json:"policy_hash"`
	StreamPolicyHash string `json:"stream_policy_hash"` // empty without a stream
	// Inputs are the objects with the stream's decisions; what the batch has read is in its manifest.
	Inputs []batch.ManifestInput `json:"inputs"`
	// TailOffsets are the decisions that were read from the log.
	TailOffsets []batch.OffsetRange `json:"tail_offset_ranges"`
	// StreamOffsets are the offsets below which the stream had published every click, by partition.
	StreamOffsets map[int32]int64   `json:"stream_offsets"`
	Outputs       map[string]string `json:"outputs_sha256"`
}

type outputFile struct {
	name string
	data []byte
}

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
	outputs := []outputFile{{DiscrepanciesFile, rows}, {PageFile, html.Bytes()}, {ReportFile, append(doc, '\n')}}
	manifest, err := r.manifest(ctx, outputs)
	if err != nil {
		return fmt.Errorf("write %s: %w", ManifestFile, err)
	}
	if r.cfg.ReportPath == "" {
		// While they are replaced, nothing says that they belong together.
		for _, name := range []string{ReportFile, ManifestFile} {
			if err := r.store.Delete(ctx, rep.Result+"/"+name); err != nil {
				return fmt.Errorf("replace %s: %w", name, err)
			}
		}
	}
	for _, out := range slices.Insert(outputs, len(outputs)-1, outputFile{ManifestFile, manifest}) {
		if err := r.put(ctx, rep, out.name, out.data); err != nil {
			return fmt.Errorf("write %s: %w", out.name, err)
		}
	}
	return nil
}

// manifest is the sealed manifest of the outputs.
func (r *run) manifest(ctx context.Context, outputs []outputFile) ([]byte, error) {
	m := Manifest{Version: r.cfg.Version, Result: strings.TrimSuffix(r.batch.Prefix, "/"), ResultSHA256: r.batch.Digest,
		PolicyHash: r.cfg.Policy.Hash(), StreamPolicyHash: r.progress.PolicyHash, StreamOffsets: r.progress.NextOffsets,
		TailOffsets: []batch.OffsetRange{}, Outputs: map[string]string{}}
	var err error
	if m.Inputs, err = batch.DigestFiles(ctx, r.store, r.decided); err != nil {
		return nil, err
	}
	for i := range r.tail {
		d := &r.tail[i]
		if n := len(m.TailOffsets); n > 0 && m.TailOffsets[n-1].Partition == d.LogPartition {
			m.TailOffsets[n-1].Last = d.LogOffset
			continue
		}
		m.TailOffsets = append(m.TailOffsets, batch.OffsetRange{Partition: d.LogPartition, First: d.LogOffset, Last: d.LogOffset})
	}
	for _, out := range outputs {
		sum := sha256.Sum256(out.data)
		m.Outputs[out.name] = hex.EncodeToString(sum[:])
	}
	return batch.Seal(m)
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
