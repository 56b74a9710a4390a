package gateway

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/clickledger/clickledger/internal/wal"
)

// metrics are the gateway's, in a registry of its own.
type metrics struct {
	registry *prometheus.Registry

	answers     *prometheus.CounterVec
	seconds     prometheus.Histogram
	groups      prometheus.Histogram
	syncSeconds prometheus.Histogram
	shipped     prometheus.Counter
	logDown     prometheus.Gauge
	damaged     prometheus.Counter
	refused     prometheus.Counter
	info        *prometheus.GaugeVec
	country     string // the label of info in force
	reloadSound *prometheus.GaugeVec
	reloadAt    *prometheus.GaugeVec

	// Counters by status are looked up once: the usual ones are on the path of every click.
	clicks, impressions map[int]prometheus.Counter
}

var answerCodes = []int{200, 302, 400, 403, 405, 408, 413, 414, 429, 503}

func newMetrics(deps Deps) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "clickledger_gateway_answers_total",
			Help: "Answers to requests for clicks and impressions."}, []string{"route", "code"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "clickledger_gateway_record_seconds",
			Help:    "Time from a request's beginning until its record is on the disk.",
			Buckets: []float64{.0005, .001, .002, .004, .006, .008, .01, .015, .025, .05, .1, .25, 1, 5}}),
		groups: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "clickledger_gateway_wal_group_records",
			Help: "Records that one sync made durable.", Buckets: prometheus.ExponentialBuckets(1, 2, 14)}),
		syncSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "clickledger_gateway_wal_sync_seconds",
			Help: "Time of one write and sync.", Buckets: prometheus.ExponentialBuckets(.0001, 2, 15)}),
		shipped: prometheus.NewCounter(prometheus.CounterOpts{Name: "clickledger_gateway_shipped_records_total",
			Help: "Records that Kafka acknowledged."}),
		logDown: prometheus.NewGauge(prometheus.GaugeOpts{Name: "clickledger_gateway_log_down",
			Help: "1 while Kafka does not acknowledge."}),
		damaged: prometheus.NewCounter(prometheus.CounterOpts{Name: "clickledger_gateway_wal_lost_records_total",
			Help: "Records of the write-ahead log that the disk lost."}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "clickledger_gateway_refused_connections_total",
			Help: "Connections closed because there were too many."}),
		clicks: map[int]prometheus.Counter{}, impressions: map[int]prometheus.Counter{},
	}
	for _, code := range answerCodes {
		m.clicks[code] = m.answers.WithLabelValues("clicks", strconv.Itoa(code))
		m.impressions[code] = m.answers.WithLabelValues("impressions", strconv.Itoa(code))
	}
	m.info = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "clickledger_gateway_info",
		Help: "Versions of what records depend on."}, []string{"device", "country"})
	m.reloadSound = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "clickledger_gateway_reload_successful",
		Help: "0 if a file could not be read when it was last to be read again."}, []string{"file"})
	m.reloadAt = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "clickledger_gateway_reload_success_timestamp_seconds",
		Help: "When the file in force was read."}, []string{"file"})
	m.setCountries(deps.Countries)
	if deps.Now != nil && deps.Reload.Keys != nil {
		m.setReloaded(fileKeys, true, deps.Now())
	}
	if deps.Now != nil && deps.Reload.Countries != nil {
		m.setReloaded(fileCountries, true, deps.Now())
	}
	m.registry.MustRegister(m.answers, m.seconds, m.groups, m.syncSeconds, m.shipped, m.logDown, m.damaged, m.refused, m.info,
		m.reloadSound, m.reloadAt,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// watch adds the figures of the write-ahead log.
func (m *metrics) watch(log *wal.Log) {
	m.registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "clickledger_gateway_wal_bytes",
			Help: "Size of the write-ahead log."}, func() float64 { return float64(log.Stats().Bytes) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "clickledger_gateway_wal_pending_records",
			Help: "Records that are not in Kafka yet."}, func() float64 { return float64(log.Stats().Pending) }))
}

// setCountries changes the version of the file in info. It is for one goroutine at a time.
func (m *metrics) setCountries(c Countries) {
	version := "none"
	if c != nil {
		version = c.Version()
	}
	if old := m.country; old != "" && old != version {
		m.info.DeleteLabelValues(deviceVersion, old)
	}
	m.country = version
	m.info.WithLabelValues(deviceVersion, version).Set(1)
}

func (m *metrics) setReloaded(file string, sound bool, at time.Time) {
	if !sound {
		m.reloadSound.WithLabelValues(file).Set(0)
		return
	}
	m.reloadSound.WithLabelValues(file).Set(1)
	m.reloadAt.WithLabelValues(file).Set(float64(at.UnixMilli()) / 1000)
}

func (m *metrics) committed(g wal.Group) {
	m.groups.Observe(float64(g.Records))
	m.syncSeconds.Observe(g.Took.Seconds())
}

func (m *metrics) setLogDown(down bool) {
	if down {
		m.logDown.Set(1)
	} else {
		m.logDown.Set(0)
	}
}
