package config

import (
	"time"

	"github.com/clickledger/clickledger/schemas/policy"
)

// Config is the checked configuration. Fields of settings that are unset are zero; a command names
// those it cannot do without in Input.Require.
type Config struct {
	Log                string `koanf:"log"`
	Archive            string `koanf:"archive"`
	Serving            string `koanf:"serving"`
	Ledger             string `koanf:"ledger"`
	Dedup              string `koanf:"dedup"`
	DedupOnFailure     string `koanf:"dedup_on_failure"`
	DedupPrefix        string `koanf:"dedup_prefix"`
	DedupPasswordFile  string `koanf:"dedup_password_file"`
	Policy             string `koanf:"policy"`
	LedgerPasswordFile string `koanf:"ledger_password_file"`
	// ServingPasswordFile is for ServingURL.
	ServingPasswordFile string `koanf:"serving_password_file"`
	LedgerCurrency      string `koanf:"ledger_currency"`

	S3        S3        `koanf:"s3"`
	DuckDB    DuckDB    `koanf:"duckdb"`
	Logging   Logging   `koanf:"logging"`
	Kafka     Kafka     `koanf:"kafka"`
	Gateway   Gateway   `koanf:"gateway"`
	Archiver  Archiver  `koanf:"archiver"`
	Stream    Stream    `koanf:"stream"`
	Flink     Flink     `koanf:"flink"`
	Batch     Batch     `koanf:"batch"`
	Reconcile Reconcile `koanf:"reconcile"`

	Nightly Nightly `koanf:"nightly"`
	API     API     `koanf:"api"`

	settings []Setting
	policy   *policy.Policy
}

// S3 is the service behind s3:// places. What is empty comes from the standard environment.
type S3 struct {
	Endpoint        string `koanf:"endpoint"`
	Region          string `koanf:"region"`
	Addressing      string `koanf:"addressing"`
	CredentialsFile string `koanf:"credentials_file"`
	Encryption      string `koanf:"encryption"`
	CacheDir        string `koanf:"cache_dir"`
	CacheSize       Bytes  `koanf:"cache_size"`
}

// DuckDB is the engine of the batch.
type DuckDB struct {
	HTTPFSExtension string `koanf:"httpfs_extension"`
}

// Logging is how the program logs on stderr.
type Logging struct {
	Level  string `koanf:"level"`
	Format string `koanf:"format"`
}

// Kafka is how the log's brokers are spoken to.
type Kafka struct {
	TLS          string `koanf:"tls"`
	CAFile       string `koanf:"ca_file"`
	CertFile     string `koanf:"cert_file"`
	KeyFile      string `koanf:"key_file"`
	SASL         string `koanf:"sasl"`
	User         string `koanf:"user"`
	PasswordFile string `koanf:"password_file"`
}

// Gateway is the tracking endpoint.
type Gateway struct {
	Listen        string `koanf:"listen"`
	Key           string `koanf:"key"`
	Salts         int    `koanf:"salts"`
	RedirectHosts List   `koanf:"redirect_hosts"`
	URLKeysFile   string `koanf:"url_keys_file"`
	WALDir        string `koanf:"wal_dir"`
	WALMax        Bytes  `koanf:"wal_max"`
	// TrustedProxies are in the form of netip.ParsePrefix.
	TrustedProxies List          `koanf:"trusted_proxies"`
	IPParameter    string        `koanf:"ip_parameter"`
	CountryFile    string        `koanf:"country_file"`
	CountryHeader  string        `koanf:"country_header"`
	Device         string        `koanf:"device"`
	ClientRate     int           `koanf:"client_rate"`
	MetricsListen  string        `koanf:"metrics_listen"`
	AppendTimeout  time.Duration `koanf:"append_timeout"`
}

// Archiver is the job that writes the Parquet files.
type Archiver struct {
	FlushInterval time.Duration `koanf:"flush_interval"`
	MaxRecords    int           `koanf:"max_records"`
	MaxBuffered   Bytes         `koanf:"max_buffered"`
}

// Stream is the speed layer.
type Stream struct {
	Runner          string        `koanf:"runner"`
	Topic           string        `koanf:"topic"`
	Shards          int           `koanf:"shards"`
	PublishInterval time.Duration `koanf:"publish_interval"`
	PollWait        time.Duration `koanf:"poll_wait"`
	PollRecords     int           `koanf:"poll_records"`
	InFlightClicks  int           `koanf:"in_flight_clicks"`
}

// Flink is the cluster that a layer runs on with the runner of that name.
type Flink struct {
	REST               string        `koanf:"rest"`
	JobService         string        `koanf:"job_service"`
	Job                string        `koanf:"job"`
	Environment        string        `koanf:"environment"`
	Boot               string        `koanf:"boot"`
	WorkerPool         string        `koanf:"worker_pool"`
	WorkerDir          string        `koanf:"worker_dir"`
	Parallelism        int           `koanf:"parallelism"`
	CheckpointInterval time.Duration `koanf:"checkpoint_interval"`
	MaxBundleSize      int           `koanf:"max_bundle_size"`
	MaxBundleTime      time.Duration `koanf:"max_bundle_time"`
	Savepoint          string        `koanf:"savepoint"`
	SavepointDir       string        `koanf:"savepoint_dir"`
}

// Batch is the batch layer.
type Batch struct {
	Runner      string `koanf:"runner"`
	Exchange    string `koanf:"exchange"`
	MemoryLimit Bytes  `koanf:"memory_limit"`
	SliceClicks int    `koanf:"slice_clicks"`
	Shards      int    `koanf:"shards"`
	Threads     int    `koanf:"threads"`
	TempDir     string `koanf:"temp_dir"`
}

// Reconcile is the comparison of the layers. A tolerance counts clicks, or what they cost, with no
// regard to the sign of their difference; nil is any number.
type Reconcile struct {
	AdvertiserToleranceClicks *int64 `koanf:"advertiser_tolerance_clicks"`
	AdvertiserToleranceMicros *int64 `koanf:"advertiser_tolerance_micros"`
	ToleranceClicks           *int64 `koanf:"tolerance_clicks"`
	ToleranceMicros           *int64 `koanf:"tolerance_micros"`
}
