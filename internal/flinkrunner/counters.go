package flinkrunner

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"google.golang.org/protobuf/encoding/protojson"
)

const (
	// metricsAccumulator is where Beam's runner leaves its metrics when an operator ends.
	metricsAccumulator = "__metricscontainers"
	counterURN         = "beam:metric:user:sum_int64:v1"
	// idsPerQuestion keeps the address of a question short.
	idsPerQuestion = 20
)

// Counters reads Beam's counters, each named "namespace.name", summed over steps and workers; one
// that nothing has counted is 0. Beam's job server knows them only of a job that has ended, and not
// of an attached one, so Flink is asked. They are some seconds old, and count from the last restart
// on, what was done again included: they tell how a job fares, and prove nothing.
func (j *Job) Counters(ctx context.Context, names ...string) (map[string]int64, error) {
	st, err := j.overview(ctx)
	if err != nil {
		return nil, fmt.Errorf("counters of job %s: %w", j.ID, err)
	}
	counters := map[string]int64{}
	if st.State.IsFinal() {
		err = j.endedCounters(ctx, names, counters)
	} else {
		for _, v := range st.Vertices {
			if err = j.liveCounters(ctx, v.ID, names, counters); err != nil {
				break
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("counters of job %s: %w", j.ID, err)
	}
	return counters, nil
}

// liveCounters adds up a vertex's metrics, "subtask.operator.namespace_name" for a counter.
func (j *Job) liveCounters(ctx context.Context, vertex string, names []string, counters map[string]int64) error {
	type metric struct {
		ID    string `json:"id"`
		Value string `json:"value"`
	}
	var known []metric
	place := j.path("/vertices/" + vertex + "/metrics")
	if err := j.rest.get(ctx, place, &known); err != nil {
		return err
	}
	var ids []string
	wanted := map[string]string{} // ID -> name
	for _, m := range known {
		for _, name := range names {
			if strings.HasSuffix(m.ID, "."+strings.ReplaceAll(name, ".", "_")) && strings.Count(m.ID, ".") >= 2 {
				ids, wanted[m.ID] = append(ids, url.QueryEscape(m.ID)), name
			}
		}
	}
	for len(ids) > 0 {
		n := min(len(ids), idsPerQuestion)
		var values []metric
		if err := j.rest.get(ctx, place+"?get="+strings.Join(ids[:n], ","), &values); err != nil {
			return err
		}
		for _, m := range values {
			value, err := strconv.ParseInt(m.Value, 10, 64)
			if err != nil {
				return fmt.Errorf("metric %s: %w", m.ID, err)
			}
			counters[wanted[m.ID]] += value
		}
		ids = ids[n:]
	}
	return nil
}

func (j *Job) endedCounters(ctx context.Context, names []string, counters map[string]int64) error {
	var answer struct {
		Accumulators []struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		} `json:"user-task-accumulators"`
	}
	if err := j.rest.get(ctx, j.path("/accumulators"), &answer); err != nil {
		return err
	}
	all := map[string]int64{}
	for _, a := range answer.Accumulators {
		if a.Name != metricsAccumulator {
			continue
		}
		if err := addCounters(all, a.Value); err != nil {
			return err
		}
	}
	for _, name := range names {
		counters[name] = all[name]
	}
	return nil
}

// addCounters adds up the counters in Beam's metrics, which are JSON of a protocol buffer.
func addCounters(counters map[string]int64, text string) error {
	all := &jobpb.GetJobMetricsResponse{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal([]byte(text), all); err != nil {
		return fmt.Errorf("read beam's metrics: %w", err)
	}
	for _, m := range all.GetMetrics().GetAttempted() {
		if m.GetUrn() != counterURN {
			continue
		}
		n, size := binary.Uvarint(m.GetPayload())
		if size <= 0 {
			return fmt.Errorf("read beam's metrics: payload %x of %v", m.GetPayload(), m.GetLabels())
		}
		counters[m.GetLabels()["NAMESPACE"]+"."+m.GetLabels()["NAME"]] += int64(n)
	}
	return nil
}
