package flinkrunner

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/metrics"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/metricsx"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/util/grpcx"
)

// Counters asks the job server for Beam's counters, by "namespace.name", summed over the steps.
func (j *Job) Counters(ctx context.Context) (map[string]int64, error) {
	if j.BeamID == "" {
		return nil, errors.New("the counters of an attached job are not known to this process")
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := grpcx.Dial(ctx, j.cfg.JobService, askTimeout)
	if err != nil {
		return nil, fmt.Errorf("the beam job server at %s %w: %w", j.cfg.JobService, ErrUnreachable, err)
	}
	defer conn.Close()
	client := jobpb.NewJobServiceClient(conn)
	answer, err := client.GetJobMetrics(ctx, &jobpb.GetJobMetricsRequest{JobId: j.BeamID})
	if err != nil {
		return nil, fmt.Errorf("counters of job %s: %w", j.ID, err)
	}
	all := metricsx.FromMonitoringInfos(nil, answer.GetMetrics().GetAttempted(), answer.GetMetrics().GetCommitted())
	counters := map[string]int64{}
	for _, c := range all.Query(func(metrics.SingleResult) bool { return true }).Counters() {
		counters[c.Namespace()+"."+c.Name()] += c.Result()
	}
	return counters, nil
}
