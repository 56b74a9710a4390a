package flinkrunner

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Status is what a job does, in numbers.
type Status struct {
	ID       string        `json:"flink_job_id"`
	Name     string        `json:"name"`
	State    State         `json:"state"`
	Started  time.Time     `json:"started_at"`
	Duration time.Duration `json:"duration"`
	Vertices []Vertex      `json:"vertices"`
	// Checkpoints as counted since the job's start.
	Checkpoints Checkpoints `json:"checkpoints"`
	// Restarts is how often the job was restarted after a failure, Exception the last one's cause.
	Restarts  int64  `json:"restarts"`
	Exception string `json:"exception,omitempty"`
}

// Vertex is a chain of operators that Flink runs together.
type Vertex struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	State       string `json:"state"`
	Parallelism int    `json:"parallelism"`
	RecordsIn   int64  `json:"records_in"`
	RecordsOut  int64  `json:"records_out"`
	// BusyShare and BackpressureShare are of the time of the busiest subtask, 0 to 1: a vertex
	// that waits for the next one has backpressure, and the one that it waits for is busy.
	BusyShare         float64 `json:"busy_share"`
	BackpressureShare float64 `json:"backpressure_share"`
}

// Checkpoints counts checkpoints and describes the last one.
type Checkpoints struct {
	Completed int64 `json:"completed"`
	Failed    int64 `json:"failed"`
	// Restored is how often the job went on from one.
	Restored     int64         `json:"restored"`
	LastID       int64         `json:"last_id"` // 0: none yet
	LastPlace    string        `json:"last_place,omitempty"`
	LastAt       time.Time     `json:"last_at"`
	LastDuration time.Duration `json:"last_duration"`
	LastBytes    int64         `json:"last_bytes"`
}

// Status asks for all of it.
func (j *Job) Status(ctx context.Context) (Status, error) {
	st, err := j.overview(ctx)
	if err != nil {
		return st, fmt.Errorf("status of job %s: %w", j.ID, err)
	}
	if st.Checkpoints, err = j.checkpoints(ctx); err != nil {
		return st, fmt.Errorf("status of job %s: %w", j.ID, err)
	}
	if st.Exception, err = j.exception(ctx); err != nil {
		return st, fmt.Errorf("status of job %s: %w", j.ID, err)
	}
	restarts, err := j.gauges(ctx, "/metrics?get=numRestarts")
	if err != nil {
		return st, fmt.Errorf("status of job %s: %w", j.ID, err)
	}
	st.Restarts = int64(restarts["numRestarts"])
	for i := range st.Vertices {
		v := &st.Vertices[i]
		load, err := j.gauges(ctx, "/vertices/"+v.ID+"/subtasks/metrics?get=busyTimeMsPerSecond,backPressuredTimeMsPerSecond")
		if err != nil {
			return st, fmt.Errorf("status of job %s: %w", j.ID, err)
		}
		v.BusyShare, v.BackpressureShare = load["busyTimeMsPerSecond"]/1000, load["backPressuredTimeMsPerSecond"]/1000
	}
	return st, nil
}

// overview is the part of Status that one question answers.
func (j *Job) overview(ctx context.Context) (Status, error) {
	var answer struct {
		Name     string `json:"name"`
		State    State  `json:"state"`
		Start    int64  `json:"start-time"`
		Duration int64  `json:"duration"`
		Vertices []struct {
			ID          string `json:"id"`
			Name        string `json:"name"`
			Status      string `json:"status"`
			Parallelism int    `json:"parallelism"`
			Metrics     struct {
				In  int64 `json:"read-records"`
				Out int64 `json:"write-records"`
			} `json:"metrics"`
		} `json:"vertices"`
	}
	if err := j.rest.get(ctx, j.path(""), &answer); err != nil {
		return Status{}, err
	}
	st := Status{ID: j.ID, Name: answer.Name, State: answer.State, Started: time.UnixMilli(answer.Start).UTC(),
		Duration: time.Duration(answer.Duration) * time.Millisecond}
	for _, v := range answer.Vertices {
		st.Vertices = append(st.Vertices, Vertex{ID: v.ID, Name: v.Name, State: v.Status, Parallelism: v.Parallelism,
			RecordsIn: v.Metrics.In, RecordsOut: v.Metrics.Out})
	}
	return st, nil
}

// isUp tells whether every vertex runs, or has ended its part.
func (s Status) isUp() bool {
	return s.State == Running && len(s.Vertices) > 0 && !slices.ContainsFunc(s.Vertices, func(v Vertex) bool {
		return v.State != string(Running) && v.State != string(Finished)
	})
}

// records sums up what went between vertices.
func (s Status) records() (n int64) {
	for _, v := range s.Vertices {
		n += v.RecordsIn + v.RecordsOut
	}
	return n
}

func (j *Job) checkpoints(ctx context.Context) (Checkpoints, error) {
	var answer struct {
		Counts struct {
			Completed int64 `json:"completed"`
			Failed    int64 `json:"failed"`
			Restored  int64 `json:"restored"`
		} `json:"counts"`
		Latest struct {
			Completed *struct {
				ID       int64  `json:"id"`
				Ack      int64  `json:"latest_ack_timestamp"`
				Duration int64  `json:"end_to_end_duration"`
				Size     int64  `json:"state_size"`
				Path     string `json:"external_path"`
			} `json:"completed"`
		} `json:"latest"`
	}
	if err := j.rest.get(ctx, j.path("/checkpoints"), &answer); err != nil {
		return Checkpoints{}, err
	}
	c := Checkpoints{Completed: answer.Counts.Completed, Failed: answer.Counts.Failed, Restored: answer.Counts.Restored}
	if last := answer.Latest.Completed; last != nil {
		c.LastID, c.LastAt, c.LastBytes = last.ID, time.UnixMilli(last.Ack).UTC(), last.Size
		c.LastDuration = time.Duration(last.Duration) * time.Millisecond
		if strings.Contains(last.Path, "://") || strings.HasPrefix(last.Path, "file:") {
			c.LastPlace = last.Path
		}
	}
	return c, nil
}

// gauges reads metrics by name, the greatest of the subtasks where there are several. What is not
// a number yet is left out.
func (j *Job) gauges(ctx context.Context, below string) (map[string]float64, error) {
	var answer []struct {
		ID    string `json:"id"`
		Value any    `json:"value"`
		Max   any    `json:"max"` // "NaN" is text
	}
	if err := j.rest.get(ctx, j.path(below), &answer); err != nil {
		return nil, err
	}
	values := map[string]float64{}
	for _, m := range answer {
		for _, v := range []any{m.Value, m.Max} {
			n, err := strconv.ParseFloat(fmt.Sprint(v), 64)
			if err == nil && !math.IsNaN(n) && !math.IsInf(n, 0) {
				values[m.ID] = n
			}
		}
	}
	return values, nil
}
