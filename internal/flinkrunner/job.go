package flinkrunner

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// State is Flink's word for what a job does.
type State string

// States that a job ends in. FINISHED is of itself or by a stop with savepoint.
const (
	Running  State = "RUNNING"
	Finished State = "FINISHED"
	Failed   State = "FAILED"
	Canceled State = "CANCELED"
)

// IsFinal tells whether a job in this state has ended.
func (s State) IsFinal() bool { return s == Finished || s == Failed || s == Canceled }

// Errors of Wait.
var (
	ErrCanceled = errors.New("the job was cancelled")
	ErrFailed   = errors.New("the job failed")
)

// settleTime is how long after its start a job's counts are not taken for progress: a start that
// hangs still hands on the source's first elements.
const settleTime = 3 * time.Second

// Job is a job of the cluster.
type Job struct {
	// ID is Flink's, BeamID the job server's; BeamID is empty for an attached job.
	ID, BeamID string
	Name       string
	// Starts is how many submissions it took.
	Starts int

	cfg     Config
	rest    rest
	workers *pool
}

// Attach takes up a job by Flink's ID, for all but Beam's metrics. Of the configuration only REST, the
// timeouts and the logger count.
func Attach(ctx context.Context, cfg Config, id string) (*Job, error) {
	cfg = cfg.withDefaults()
	j := &Job{ID: id, cfg: cfg, rest: rest{cfg.REST}}
	var answer struct {
		Name string `json:"name"`
	}
	if err := j.rest.get(ctx, j.path(""), &answer); err != nil {
		return nil, fmt.Errorf("attach to job %s: %w", id, err)
	}
	j.Name = answer.Name
	return j, nil
}

// AttachByName takes up the running job that Submit gave this name to.
func AttachByName(ctx context.Context, cfg Config, name string) (*Job, error) {
	cfg = cfg.withDefaults()
	var answer struct {
		Jobs []struct {
			ID    string `json:"jid"`
			Name  string `json:"name"`
			State State  `json:"state"`
		} `json:"jobs"`
	}
	if err := (rest{cfg.REST}).get(ctx, "/jobs/overview", &answer); err != nil {
		return nil, fmt.Errorf("attach to job %s: %w", name, err)
	}
	var found []string
	for _, job := range answer.Jobs {
		// The name is followed by a dash and 12 hexadecimal digits.
		if base := len(job.Name) - 13; base > 0 && job.Name[:base] == name && !job.State.IsFinal() {
			found = append(found, job.ID)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("attach: no job %s is running at %s: %w", name, cfg.REST, ErrNotFound)
	case 1:
		return Attach(ctx, cfg, found[0])
	default:
		return nil, fmt.Errorf("attach: %d jobs %s are running at %s: %v", len(found), name, cfg.REST, found)
	}
}

func (j *Job) path(below string) string { return "/jobs/" + j.ID + below }

// Close lets go of the job. In the environment Loopback its workers end with that.
func (j *Job) Close() {
	if j.workers != nil {
		j.workers.close()
	}
}

// State asks for the job's state.
func (j *Job) State(ctx context.Context) (State, error) {
	var answer struct {
		State State `json:"state"`
	}
	err := j.rest.get(ctx, j.path(""), &answer)
	return answer.State, err
}

// Wait returns when the job has ended: nil where it finished, ErrCanceled, or ErrFailed with the
// cause.
func (j *Job) Wait(ctx context.Context) error {
	away := time.Time{}
	for {
		state, err := j.State(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrUnreachable):
			if away.IsZero() {
				away = time.Now()
			}
			if time.Since(away) > j.cfg.Outage {
				return fmt.Errorf("wait for job %s: %w", j.ID, err)
			}
		case err != nil:
			return fmt.Errorf("wait for job %s: %w", j.ID, err)
		case state.IsFinal():
			return j.end(ctx, state)
		default:
			away = time.Time{}
		}
		if err := pause(ctx, 2*pollInterval); err != nil {
			return err
		}
	}
}

func (j *Job) end(ctx context.Context, state State) error {
	switch state {
	case Finished:
		return nil
	case Canceled:
		return fmt.Errorf("job %s: %w", j.ID, ErrCanceled)
	default:
		cause, err := j.exception(ctx)
		if err != nil {
			cause = err.Error()
		}
		return fmt.Errorf("job %s: %w: %s", j.ID, ErrFailed, cause)
	}
}

// exception is what the job failed of last, "" where it never did.
func (j *Job) exception(ctx context.Context) (string, error) {
	var answer struct {
		Root string `json:"root-exception"`
	}
	if err := j.rest.get(ctx, j.path("/exceptions"), &answer); err != nil {
		return "", err
	}
	return rootCause(answer.Root), nil
}

// awaitProgress returns when records flow, or the job has ended well.
func (j *Job) awaitProgress(ctx context.Context) error {
	deadline := time.Now().Add(j.cfg.StartTimeout + settleTime)
	var settled time.Time
	base := int64(-1)
	for {
		st, err := j.overview(ctx)
		if err != nil {
			return fmt.Errorf("watch the start of job %s: %w", j.ID, err)
		}
		switch {
		case st.State == Finished:
			return nil
		case st.State.IsFinal():
			return j.end(ctx, st.State)
		case !st.isUp():
			settled, base = time.Time{}, -1
		case settled.IsZero():
			settled = time.Now()
		case time.Since(settled) < settleTime:
		case base < 0:
			base = st.records()
		case st.records() > base:
			return nil
		}
		if time.Now().After(deadline) {
			cause, _ := j.exception(ctx)
			return fmt.Errorf("job %s, %s for %s, %d records: %w: %s", j.ID, st.State, j.cfg.StartTimeout, st.records(), ErrStalled, cause)
		}
		if err := pause(ctx, pollInterval); err != nil {
			return err
		}
	}
}

// Cancel ends the job at once, and returns when it has ended. A job that has ended already stays
// as it is.
func (j *Job) Cancel(ctx context.Context) error {
	state, err := j.State(ctx)
	if errors.Is(err, ErrNotFound) || err == nil && state.IsFinal() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, j.cfg.Outage)
	defer cancel()
	if err := j.rest.ask(ctx, "PATCH", j.path("?mode=cancel"), nil, nil); err != nil {
		return fmt.Errorf("cancel job %s: %w", j.ID, err)
	}
	if err := j.Wait(ctx); err != nil && !errors.Is(err, ErrCanceled) && !errors.Is(err, ErrFailed) {
		return fmt.Errorf("cancel job %s: %w", j.ID, err)
	}
	return nil
}
