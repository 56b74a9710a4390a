package config

import "time"

// keys is the table of all settings. A key that is added here has its flag, its environment
// variable, its check and its line in the reference at once; Config needs a field for it, and the
// README its row, which tests see to.
var keys = []Key{
	{
		Name: "log", Flag: "log", Stable: true, Kind: brokers(),
		Help: "the Kafka cluster that holds the clicks",
	},
	{
		Name: "archive", Flag: "archive", Stable: true,
		Kind: place(nil, "file:///dir", "s3://bucket/prefix"),
		Help: "where the Parquet files are",
	},
	{
		Name: "serving", Flag: "serving", Stable: true,
		Kind: place(nil, "duckdb:///file", "clickhouse://host:port/database"),
		Help: "the store that the dashboard reads",
	},
	{
		Name: "ledger", Flag: "ledger", Stable: true,
		Kind: place(nil, "postgres://host:port/database"),
		Help: "the PostgreSQL database of the ledger",
	},
	{
		Name: "dedup", Flag: "dedup", Stable: true, Default: "state",
		Kind: place([]string{"state"}, "redis://host:port/db", "rediss://host:port/db"),
		Help: "where the stream keeps the click ids it has seen",
	},
	{
		Name: "dedup_on_failure", Flag: "dedup-on-failure", Default: "wait", Kind: enum("wait", "state"),
		Help: "what the stream does while Redis is away: wait for it, or go on by the state that it then keeps as well",
	},
	{
		Name: "dedup_prefix", Flag: "dedup-prefix", Default: "clickledger",
		Kind: pattern("name", "a name without braces or blanks, up to 64 characters", `[^{}\s]{1,64}`),
		Help: "begins the names of the stream's keys in Redis; other logs and policies are kept apart by themselves",
	},
	{
		Name: "dedup_password_file", Flag: "dedup-password-file",
		Kind: filePath("a readable file whose first line is the password"),
		Help: "holds the password of Redis, for a dedup URL without one; without both it is that of REDISCLI_AUTH",
	},
	{
		Name: "policy", Flag: "policy", Stable: true, Kind: filePath("a policy document"),
		Help: "the billing policy; unset is the built-in default",
	},
	{
		Name: "ledger_password_file", Flag: "ledger-password-file",
		Kind: filePath("a readable file whose first line is the password"),
		Help: "holds the ledger's password, for a ledger URL without one",
	},
	{
		Name: "serving_password_file", Flag: "serving-password-file",
		Kind: filePath("a readable file whose first line is the password"),
		Help: "holds ClickHouse's password, for a serving URL without one",
	},
	{
		Name: "s3.endpoint", Flag: "s3-endpoint", Kind: endpoint(),
		Help: "the S3 service of s3:// places; unset is AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or Amazon's",
	},
	{
		Name: "s3.region", Flag: "s3-region",
		Kind: pattern("region", "the name of a region, e.g. eu-central-1", `[a-z0-9-]+`),
		Help: "the region; unset is AWS_REGION, AWS_DEFAULT_REGION or what the service says",
	},
	{
		Name: "s3.addressing", Flag: "s3-addressing", Default: "auto", Kind: enum("auto", "path", "host"),
		Help: "where the bucket stands in a request; auto is path for every endpoint but Amazon's",
	},
	{
		Name: "s3.credentials_file", Flag: "s3-credentials-file",
		Kind: besideFile(filePath("a readable file of AWS credentials, beside this file or absolute")),
		Help: "holds the keys of S3, in place of the standard environment",
	},
	{
		Name: "s3.encryption", Flag: "s3-encryption", Default: "none", Kind: enum("none", "sse-s3"),
		Help: "what the service is asked to encrypt new objects with",
	},
	{
		Name: "s3.cache_dir", Flag: "s3-cache-dir", Kind: filePath("a folder"),
		Help: "where copies of objects are kept; unset is clickledger/objects in the user's cache folder",
	},
	{
		Name: "s3.cache_size", Flag: "s3-cache-size", Default: "8GiB", Kind: size(1<<20, 1<<50),
		Help: "the most that the copies take together; those used longest ago go first",
	},
	{
		Name: "duckdb.httpfs_extension", Flag: "duckdb-httpfs-extension",
		Kind: besideFile(filePath("DuckDB's signed extension httpfs, of the engine's version")),
		Help: "lets the batch read S3 without copies",
	},
	{
		Name: "ledger_currency", Flag: "currency", Default: "USD",
		Kind: pattern("code", "an ISO 4217 code like USD", "[A-Z]{3}"), Help: "the currency of the ledger",
	},
	{
		Name: "logging.level", Flag: "log-level", Stable: true, Default: "info",
		Kind: enum("debug", "info", "warn", "error"), Help: "the least level that is logged",
	},
	{
		Name: "logging.format", Flag: "log-format", Stable: true, Default: "text",
		Kind: enum("text", "json"), Help: "the form of a log line",
	},
	{
		Name: "kafka.tls", Flag: "kafka-tls", Default: "off", Kind: enum("off", "on"),
		Help: "encrypt connections to the log's brokers, and check their certificates",
	},
	{
		Name: "kafka.ca_file", Flag: "kafka-ca-file", Kind: filePath("a readable PEM file"),
		Help: "the authorities that sign the brokers' certificates; unset is the system's",
	},
	{
		Name: "kafka.cert_file", Flag: "kafka-cert-file", Kind: filePath("a readable PEM file"),
		Help: "the client's certificate",
	},
	{
		Name: "kafka.key_file", Flag: "kafka-key-file", Kind: filePath("a readable PEM file"),
		Help: "the key of the client's certificate",
	},
	{
		Name: "kafka.sasl", Flag: "kafka-sasl", Default: "off", Kind: enum("off", "plain", "scram-sha-256", "scram-sha-512"),
		Help: "how the program logs in to the brokers; plain needs TLS, but on this machine",
	},
	{
		Name: "kafka.user", Flag: "kafka-user", Kind: pattern("name", "a user name", `\S+`),
		Help: "the user that logs in to the brokers",
	},
	{
		Name: "kafka.password_file", Flag: "kafka-password-file",
		Kind: filePath("a readable file whose first line is the password"),
		Help: "holds that user's password; unset is the variable KAFKA_PASSWORD",
	},
	{
		Name: "gateway.listen", Flag: "listen", Default: "127.0.0.1:8080",
		Kind: address(), Help: "address of the tracking endpoint",
	},
	{
		Name: "gateway.key", Flag: "key", Default: "click_id",
		Kind: enum("click_id", "ad_salt"), Help: "what the Kafka key of a click is made of",
	},
	{
		Name: "gateway.salts", Flag: "salts", Default: "10",
		Kind: count(1024), Help: "number of Kafka keys of one ad, with the key ad_salt",
	},
	{
		Name: "gateway.redirect_hosts", Flag: "redirect-hosts",
		Kind: list(pattern("host", "a host, or *.host for all below it", `(\*\.)?[^*/:@,\s]+`)),
		Help: "hosts that a redirect may lead to; needed unless URLs are signed, where unset is every host",
	},
	{
		Name: "gateway.url_keys_file", Flag: "url-keys-file",
		Kind: filePath("a readable file of lines id:secret, as url key makes them"),
		Help: "holds the keys of signed URLs, beside the variable CLICK_URL_KEYS; with keys only signed URLs are taken; SIGHUP reads it again",
	},
	{
		Name: "gateway.wal_dir", Flag: "wal-dir", Default: "clickledger-wal", Kind: filePath("a folder"),
		Help: "the write-ahead log: where clicks are until Kafka has them; of one gateway alone",
	},
	{
		Name: "gateway.wal_max", Flag: "wal-max", Default: "16GiB", Kind: size(128<<20, 1<<50),
		Help: "the most that the write-ahead log takes; beyond it clicks are refused with 503",
	},
	{
		Name: "gateway.trusted_proxies", Flag: "trusted-proxies",
		Kind: list(pattern("network", "a network like 10.0.0.0/8", `[0-9A-Fa-f:.]+/[0-9]{1,3}`)),
		Help: "networks of proxies whose X-Forwarded-For and country header are believed",
	},
	{
		Name: "gateway.ip_parameter", Flag: "ip-parameter", Default: "on", Kind: enum("on", "off"),
		Help: "record the ip_address of the URL where it has one; off always records the address of the connection",
	},
	{
		Name: "gateway.country_file", Flag: "country-file",
		Kind: besideFile(filePath("a readable MMDB file, such as GeoLite2 Country")),
		Help: "tells the country of an address; unset records none; SIGHUP reads it again",
	},
	{
		Name: "gateway.country_header", Flag: "country-header",
		Kind: pattern("header", "the name of a header", `[!#$%&'*+.^_|~0-9A-Za-z-]+`),
		Help: "header in which a trusted proxy passes the visitor's country",
	},
	{
		Name: "gateway.device", Flag: "device", Default: "useragent", Kind: enum("useragent", "off"),
		Help: "what the kind of device is told by",
	},
	{
		Name: "gateway.client_rate", Flag: "client-rate", Default: "200", Kind: most(),
		Help: "the most requests a second of one client, which is no trusted proxy; 0 is any number",
	},
	{
		Name: "gateway.metrics_listen", Flag: "metrics-listen", Kind: address(),
		Help: "address of /metrics; unset is that of the tracking endpoint",
	},
	{
		Name: "gateway.append_timeout", Flag: "append-timeout", Default: "5s",
		Kind: duration(time.Millisecond, time.Minute),
		Help: "how long a request waits for the disk before its answer is 503",
	},
	{
		Name: "archiver.flush_interval", Flag: "flush-interval", Default: "1m",
		Kind: duration(10*time.Millisecond, time.Hour),
		Help: "close an archive file after this time",
	},
	{
		Name: "archiver.max_records", Flag: "max-records", Default: "250000",
		Kind: count(10_000_000), Help: "close an archive file after so many records",
	},
	{
		Name: "archiver.max_buffered", Flag: "max-buffered", Default: "256MiB",
		Kind: size(1<<20, 64<<30),
		Help: "the most that all partitions together hold before it is written; the peak is three times that",
	},
	{
		Name: "stream.runner", Flag: "runner", Default: "prism",
		Kind: enum("prism", "flink"), Help: "the Beam runner of the speed layer",
	},
	{
		Name: "stream.topic", Flag: "topic", Default: "clicks", Kind: enum("clicks", "impressions", "both"),
		Help: "what is counted: clicks, impressions, or both in one process; impressions on prism alone",
	},
	{
		Name: "stream.shards", Flag: "shards", Kind: count(256),
		Help: "number of shards of every operator, which a savepoint keeps; unset is 4, and on flink the parallelism",
	},
	{
		Name: "stream.publish_interval", Flag: "publish-interval", Default: "1s",
		Kind: duration(10*time.Millisecond, time.Minute),
		Help: "the least time between two publications of rows",
	},
	{
		Name: "stream.poll_wait", Flag: "poll-wait", Default: "250ms",
		Kind: duration(time.Millisecond, 10*time.Second), Help: "how long a poll waits for records",
	},
	{
		Name: "stream.poll_records", Flag: "poll-records", Default: "20000",
		Kind: count(1_000_000), Help: "the most records of one poll",
	},
	{
		Name: "stream.in_flight_clicks", Flag: "in-flight-clicks", Default: "400000",
		Kind: count(100_000_000), Help: "the most clicks that are read and not judged yet",
	},
	{
		Name: "flink.rest", Flag: "flink-rest", Default: "http://127.0.0.1:8081", Kind: endpoint(),
		Help: "Flink's REST API",
	},
	{
		Name: "flink.job_service", Flag: "flink-job-service", Default: "127.0.0.1:8099", Kind: address(),
		Help: "Beam's job server, which hands jobs on to Flink",
	},
	{
		Name: "flink.job", Flag: "flink-job", Default: "clickledger-stream",
		Kind: pattern("name", "a name of letters, digits, dots and dashes", `[A-Za-z0-9][A-Za-z0-9.-]{0,63}`),
		Help: "the job's name in the cluster, where only one of a name runs",
	},
	{
		Name: "flink.environment", Flag: "flink-environment", Default: "loopback", Kind: enum("loopback", "process", "external"),
		Help: "where the transforms run: in this process, started by the TaskManagers, or in pools beside them",
	},
	{
		Name: "flink.boot", Flag: "flink-boot", Kind: filePath("a program on the TaskManagers' hosts"),
		Help: "what TaskManagers start as workers in the environment process: this program, or Beam's boot program; unset is this program's own path",
	},
	{
		Name: "flink.worker_pool", Flag: "flink-worker-pool", Kind: address(),
		Help: "the pools' address as TaskManagers see it, for the environment external",
	},
	{
		Name: "flink.worker_dir", Flag: "flink-worker-dir", Kind: filePath("a folder on the TaskManagers' hosts"),
		Help: "where Beam's boot program keeps what it fetches; unset is the system's folder",
	},
	{
		Name: "flink.parallelism", Flag: "flink-parallelism", Kind: count(128),
		Help: "parallel instances of every operator; unset is the cluster's default",
	},
	{
		Name: "flink.checkpoint_interval", Flag: "flink-checkpoint-interval", Default: "10s",
		Kind: duration(100*time.Millisecond, 24*time.Hour), Help: "time from the beginning of a checkpoint to that of the next",
	},
	{
		Name: "flink.max_bundle_size", Flag: "flink-max-bundle-size", Default: "1000", Kind: count(1_000_000),
		Help: "the most elements of a bundle",
	},
	{
		Name: "flink.max_bundle_time", Flag: "flink-max-bundle-time", Default: "50ms",
		Kind: duration(time.Millisecond, 10*time.Minute), Help: "the longest life of a bundle: what an operator sends may wait for its end",
	},
	{
		Name: "flink.savepoint", Flag: "flink-savepoint", Kind: pattern("url", "the place of a savepoint or of a retained checkpoint", `\S+`),
		Help: "where the job goes on; unset replays the log from the published watermark less the horizon",
	},
	{
		Name: "flink.savepoint_dir", Flag: "flink-savepoint-dir", Kind: pattern("url", "a folder as the cluster sees it", `\S+`),
		Help: "where savepoints are kept; unset is the cluster's own folder",
	},
	{
		Name: "batch.runner", Flag: "runner", Default: "prism",
		Kind: enum("prism", "flink"), Help: "the Beam runner of the batch layer",
	},
	{
		Name: "batch.exchange", Flag: "exchange", Kind: place(nil, "file:///dir", "s3://bucket/prefix"),
		Help: "where a batch run on Flink and its workers hand blocks to each other; unset is a folder of temp_dir, for loopback workers",
	},
	{
		Name: "batch.memory_limit", Flag: "memory-limit", Default: "2GiB",
		Kind: size(64<<20, 1<<40), Help: "the most memory that DuckDB may use in a batch run",
	},
	{
		Name: "batch.slice_clicks", Flag: "slice-clicks", Default: "500000",
		Kind: count(100_000_000), Help: "the most clicks of a batch run that are in the pipeline at once",
	},
	{
		Name: "batch.shards", Flag: "batch-shards", Default: "4",
		Kind: count(256), Help: "number of shards of every operator of a batch run",
	},
	{
		Name: "batch.threads", Flag: "threads",
		Kind: count(1024), Help: "threads of DuckDB and of the readers; unset is one a processor",
	},
	{
		Name: "batch.temp_dir", Flag: "temp-dir", Kind: filePath("a folder"),
		Help: "where a batch run spools and spills to; unset is the system's folder",
	},
	{
		Name: "reconcile.advertiser_tolerance_clicks", Flag: "advertiser-tolerance-clicks", Kind: most(),
		Help: "the most clicks of an advertiser that may differ, explained or not, before he is held; unset is any number",
	},
	{
		Name: "reconcile.advertiser_tolerance_micros", Flag: "advertiser-tolerance-micros", Kind: most(),
		Help: "likewise the most millionths of the currency unit",
	},
	{
		Name: "reconcile.tolerance_clicks", Flag: "tolerance-clicks", Kind: most(),
		Help: "the most clicks of a day that may differ before the gate is shut and nobody is posted; unset is any number",
	},
	{
		Name: "reconcile.tolerance_micros", Flag: "tolerance-micros", Kind: most(),
		Help: "likewise the most millionths of the currency unit",
	},
}
