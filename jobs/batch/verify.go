package batch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/clickledger/clickledger/internal/objectstore"
	"github.com/clickledger/clickledger/internal/parquetio"
)

// ReconcileManifestFile is what a reconciliation leaves beside the result that it compared: a sealed
// document with its inputs and the digests of its outputs, as in run.json.
const ReconcileManifestFile = "reconcile.json"

// reconcileReport is there once a result was reconciled.
const reconcileReport = "report.json"

// problemsMax bounds the problems that a Verifier names.
const problemsMax = 1000

// Verifier compares results, and the archive's objects that they rest on, with their digests.
type Verifier struct {
	Store objectstore.Store
	// Known are digests of objects that were read already, by key; may be nil.
	Known map[string]string

	// Problems name what was changed or is missing, at most 1,000; Count counts all.
	Problems []string
	Count    int
	// Results and Objects are how many were compared.
	Results, Objects int

	inputs map[string]map[string]string // key -> digest -> a document that says so
}

func (v *Verifier) problemf(format string, args ...any) {
	v.Count++
	if len(v.Problems) < problemsMax {
		v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
	}
}

// VerifyAll compares every whole result of an archive, and the objects that they rest on.
func (v *Verifier) VerifyAll(ctx context.Context) error {
	objects, err := v.Store.List(ctx, "results/")
	if err != nil {
		return err
	}
	keys, err := runsIn(v.Store, objects)
	if err != nil {
		return err
	}
	v.manifests(objects)
	for _, key := range keys {
		if _, err := v.VerifyResult(ctx, key.Prefix); err != nil {
			return err
		}
	}
	return v.VerifyObjects(ctx)
}

// manifests names those that are gone: what was reconciled was whole.
func (v *Verifier) manifests(objects []objectstore.Object) {
	there := map[string]bool{}
	for _, o := range objects {
		there[o.Key] = true
	}
	for _, o := range objects {
		prefix, isReconciled := strings.CutSuffix(o.Key, "/"+ReconcileManifestFile)
		if isReconciled && !there[prefix+"/"+ManifestFile] {
			v.problemf("%s/%s: it is gone", prefix, ManifestFile)
		}
	}
}

// documented is what manifests have in common.
type documented struct {
	Inputs  []ManifestInput   `json:"inputs"`
	Outputs map[string]string `json:"outputs_sha256"`
}

// VerifyResult compares the files of one result with its manifests. The manifest of the batch is nil
// where it cannot be relied on.
func (v *Verifier) VerifyResult(ctx context.Context, prefix string) (*Manifest, error) {
	v.Results++
	objects, err := v.Store.List(ctx, prefix)
	if err != nil {
		return nil, err
	}
	has := func(name string) bool {
		return slices.ContainsFunc(objects, func(o objectstore.Object) bool { return o.Key == prefix+name })
	}
	m, err := LoadManifest(ctx, v.Store, RunKey{Prefix: prefix})
	switch {
	case errors.Is(err, ErrChanged) || errors.Is(err, objectstore.ErrNotFound):
		v.problemf("%s%s: %v", prefix, ManifestFile, err)
	case err != nil:
		return nil, err
	default:
		if err := v.outputs(ctx, prefix, ManifestFile, documented{m.Inputs, m.Outputs}); err != nil {
			return nil, err
		}
	}
	switch {
	case has(ReconcileManifestFile):
		doc, err := v.Store.Get(ctx, prefix+ReconcileManifestFile)
		if err != nil {
			return nil, err
		}
		var d documented
		if err := Unseal(doc, &d); err != nil {
			v.problemf("%s%s: %v", prefix, ReconcileManifestFile, err)
			return m, nil
		}
		return m, v.outputs(ctx, prefix, ReconcileManifestFile, d)
	case has(reconcileReport):
		v.problemf("%s%s: there is a report and no such manifest: it was removed, or reconcile was cut off", prefix, ReconcileManifestFile)
	}
	return m, nil
}

// outputs compares a document's outputs, and notes its inputs.
func (v *Verifier) outputs(ctx context.Context, prefix, document string, d documented) error {
	for _, name := range slices.Sorted(maps.Keys(d.Outputs)) {
		data, err := v.Store.Get(ctx, prefix+name)
		switch {
		case errors.Is(err, objectstore.ErrNotFound):
			v.problemf("%s%s: it is gone", prefix, name)
		case err != nil:
			return err
		case digestOf(data) != d.Outputs[name]:
			v.problemf("%s%s: it is not what %s says: %v", prefix, name, document, ErrChanged)
		}
	}
	if v.inputs == nil {
		v.inputs = map[string]map[string]string{}
	}
	for i := range d.Inputs {
		in := &d.Inputs[i]
		if in.SHA256 == "" {
			continue
		}
		if v.inputs[in.Key] == nil {
			v.inputs[in.Key] = map[string]string{}
		}
		if _, ok := v.inputs[in.Key][in.SHA256]; !ok {
			v.inputs[in.Key][in.SHA256] = prefix + document
		}
	}
	return nil
}

// VerifyObjects compares the archive's objects with what the results that were verified have read.
func (v *Verifier) VerifyObjects(ctx context.Context) error {
	keys := slices.Sorted(maps.Keys(v.inputs))
	found := make([]string, len(keys))
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(filesAtOnce)
	for i, key := range keys {
		if found[i] = v.Known[key]; found[i] == "" {
			group.Go(func() (err error) {
				found[i], err = digestObject(within, v.Store, key)
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, key := range keys {
		v.Objects++
		if found[i] == "" {
			v.problemf("%s: it is gone, and %s rests on it", key, strings.Join(slices.Sorted(maps.Values(v.inputs[key])), ", "))
			continue
		}
		for _, want := range slices.Sorted(maps.Keys(v.inputs[key])) {
			if want != found[i] {
				v.problemf("%s: it is not what %s was made from: %v", key, v.inputs[key][want], ErrChanged)
			}
		}
	}
	return nil
}

// digestObject is the SHA-256 of an object; empty where it is gone.
func digestObject(ctx context.Context, store objectstore.Store, key string) (sum string, err error) {
	src, err := store.ReadAt(ctx, key)
	if errors.Is(err, objectstore.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	d, err := parquetio.ReadDigest(ctx, src)
	if err != nil {
		return "", fmt.Errorf("%s: %w", store.URL(key), err)
	}
	return d.SHA256, nil
}
