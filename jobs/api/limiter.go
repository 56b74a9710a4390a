package api

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits of the limiter itself: subjects beyond the most are forgotten, those idle for longest first.
const (
	subjectsMax = 10_000
	burstFactor = 3
	idleAfter   = time.Minute // a bucket that was not used for so long is full again
)

// limiter keeps one token bucket a subject.
type limiter struct {
	perSecond int
	now       func() time.Time

	mu      sync.Mutex
	buckets map[string]*bucket
}

type bucket struct {
	limit  *rate.Limiter
	usedAt time.Time
}

func newLimiter(perSecond int, now func() time.Time) *limiter {
	return &limiter{perSecond: perSecond, now: now, buckets: map[string]*bucket{}}
}

// wait takes one request of the subject's; where there is none left it returns how long to wait.
func (l *limiter) wait(subject string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	b := l.buckets[subject]
	if b == nil {
		l.forget(now)
		b = &bucket{limit: rate.NewLimiter(rate.Limit(l.perSecond), l.perSecond*burstFactor)}
		l.buckets[subject] = b
	}
	b.usedAt = now
	r := b.limit.ReserveN(now, 1)
	if d := r.DelayFrom(now); d > 0 {
		r.CancelAt(now)
		return d
	}
	return 0
}

// forget makes room for one more subject.
func (l *limiter) forget(now time.Time) {
	if len(l.buckets) < subjectsMax {
		return
	}
	oldest := ""
	for subject, b := range l.buckets {
		if now.Sub(b.usedAt) > idleAfter {
			delete(l.buckets, subject)
			continue
		}
		if oldest == "" || b.usedAt.Before(l.buckets[oldest].usedAt) {
			oldest = subject
		}
	}
	if len(l.buckets) >= subjectsMax {
		delete(l.buckets, oldest)
	}
}
