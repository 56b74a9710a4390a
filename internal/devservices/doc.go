// Package devservices runs the real services that Clickledger works on - Kafka, ClickHouse, an S3
// gateway, Redis, PostgreSQL - on this machine, without Docker, for development and tests.
//
// Input is a directory and a range of ports; output is running services on 127.0.0.1, a bucket, a
// database, and a configuration file that names them. What is missing is fetched by the package
// managers in pinned versions and held to pinned checksums before anything of it runs.
//
// Guarantees: Up starts what is not running, leaves alone what is, and returns when every service
// has answered a real question; it may be interrupted or killed anywhere and run again. Each process
// is recorded by itself, before it becomes the service, with its number and its start time: Down
// ends no stranger that got the same number. Services outlive the caller. Data survives kill -9 of a
// service. Nothing listens beyond the loopback interface.
package devservices
