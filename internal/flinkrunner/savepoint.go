package flinkrunner

import (
	"context"
	"errors"
	"fmt"
)

// Savepoint stores the job's state below a directory, a URL as the cluster sees it, and returns
// the place to resume from. An empty directory is the cluster's own. The job goes on.
func (j *Job) Savepoint(ctx context.Context, dir string) (string, error) {
	place, err := j.trigger(ctx, "/savepoints", savepointRequest{Directory: dir})
	if err != nil {
		return "", fmt.Errorf("savepoint of job %s: %w", j.ID, err)
	}
	return place, nil
}

// Stop stores the job's state as Savepoint does, and ends the job with that: what is resumed from
// the place continues it. It returns when the job has ended. What sinks wrote between the savepoint
// and the end is written again. Flink's own stop with a savepoint would avoid that; it has operators
// finish their input, which was not tried with those of Beam.
func (j *Job) Stop(ctx context.Context, dir string) (string, error) {
	place, err := j.trigger(ctx, "/savepoints", savepointRequest{Directory: dir, Cancel: true})
	if err != nil {
		return "", fmt.Errorf("stop job %s with a savepoint: %w", j.ID, err)
	}
	if err := j.Wait(ctx); err != nil && !errors.Is(err, ErrCanceled) {
		return place, fmt.Errorf("stop job %s with a savepoint: %w", j.ID, err)
	}
	return place, nil
}

type savepointRequest struct {
	Directory string `json:"target-directory,omitempty"`
	Cancel    bool   `json:"cancel-job"`
}

// trigger begins an operation and waits for its end.
func (j *Job) trigger(ctx context.Context, operation string, request any) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, j.cfg.SavepointTimeout)
	defer cancel()
	var begun struct {
		ID string `json:"request-id"`
	}
	if err := j.rest.post(ctx, j.path(operation), request, &begun); err != nil {
		return "", err
	}
	for {
		var answer struct {
			Status struct {
				ID string `json:"id"`
			} `json:"status"`
			Operation struct {
				Location string `json:"location"`
				Failure  *struct {
					Class string `json:"class"`
					Trace string `json:"stack-trace"`
				} `json:"failure-cause"`
			} `json:"operation"`
		}
		if err := j.rest.get(ctx, j.path("/savepoints/"+begun.ID), &answer); err != nil {
			return "", err
		}
		if answer.Status.ID == "COMPLETED" {
			if f := answer.Operation.Failure; f != nil {
				return "", fmt.Errorf("flink could not: %s", rootCause(f.Trace))
			}
			return answer.Operation.Location, nil
		}
		if err := pause(ctx, pollInterval); err != nil {
			return "", err
		}
	}
}
