package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/clickledger/clickledger/internal/devservices"
	"github.com/clickledger/clickledger/internal/kafkaio"
)

func address(distance int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(testBase+distance))
}

// exchange is what a test does with one service: write a value, and find all that was written.
type exchange struct {
	write func(r *devRig, value string) error
	read  func(r *devRig) ([]string, error)
}

// exchanges are by clients of the usual kind, not by those that dev up asks with.
var exchanges = map[string]exchange{
	"kafka":      {writeKafka, readKafka},
	"clickhouse": {writeClickHouse, readClickHouse},
	"s3":         {writeS3, readS3},
	"redis":      {writeRedis, readRedis},
	"postgres":   {writePostgres, readPostgres},
}

func writeKafka(r *devRig, value string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(address(92)))
	if err != nil {
		return err
	}
	defer client.Close()
	record := &kgo.Record{Topic: "clicks", Partition: 0, Value: []byte(value)}
	return client.ProduceSync(r.Context(), record).FirstErr()
}

func readKafka(r *devRig) ([]string, error) {
	client, err := kafkaio.Connect(r.Context(), []string{address(92)}, kafkaio.Options{})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var values []string
	for _, topic := range kafkaio.Topics() {
		partitions, err := client.Partitions(r.Context(), topic)
		if err != nil || len(partitions) != devPartitions {
			return nil, fmt.Errorf("topic %s: partitions %v, %w", topic, partitions, err)
		}
		for _, partition := range partitions {
			_, end, err := client.Offsets(r.Context(), topic, partition)
			if err != nil {
				return nil, err
			}
			reader := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{address(92)}, Topic: topic, Partition: int(partition)})
			for range end {
				m, err := reader.ReadMessage(r.Context())
				if err != nil {
					return nil, err
				}
				values = append(values, string(m.Value))
			}
			if err := reader.Close(); err != nil {
				return nil, err
			}
		}
	}
	return values, nil
}

func clickHouse(r *devRig, statement string) (string, error) {
	request, err := http.NewRequestWithContext(r.Context(), http.MethodPost, "http://"+address(123)+"/?database=csp_analytics", strings.NewReader(statement))
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, text)
	}
	return string(text), err
}

func writeClickHouse(r *devRig, value string) error {
	for _, statement := range []string{
		"create table if not exists kept (v String) engine = MergeTree order by v",
		"insert into kept values ('" + value + "')",
	} {
		if _, err := clickHouse(r, statement); err != nil {
			return err
		}
	}
	return nil
}

func readClickHouse(r *devRig) ([]string, error) {
	// The native port, by the server's own client of that protocol.
	text, err := clickHouse(r, "select v from remote('"+address(900)+"', csp_analytics.kept)")
	return strings.Fields(text), err
}

func s3Client() (*minio.Client, error) {
	return minio.New(address(0), &minio.Options{
		Creds: credentials.NewStaticV4(devservices.S3AccessKey, devservices.S3SecretKey, ""), Region: devservices.S3Region,
	})
}

func writeS3(r *devRig, value string) error {
	client, err := s3Client()
	if err != nil {
		return err
	}
	options := minio.PutObjectOptions{}
	options.SetMatchETagExcept("*") // only if it is not there
	_, err = client.PutObject(r.Context(), devservices.S3Bucket, "kept/"+value, strings.NewReader(value), int64(len(value)), options)
	if err != nil {
		return err
	}
	if _, err = client.PutObject(r.Context(), devservices.S3Bucket, "kept/"+value, strings.NewReader("x"), 1, options); err == nil {
		return fmt.Errorf("a conditional put of %s succeeded twice", value)
	}
	return nil
}

func readS3(r *devRig) ([]string, error) {
	client, err := s3Client()
	if err != nil {
		return nil, err
	}
	var values []string
	for info := range client.ListObjects(r.Context(), devservices.S3Bucket, minio.ListObjectsOptions{Prefix: "kept/"}) {
		if info.Err != nil {
			return nil, info.Err
		}
		object, err := client.GetObject(r.Context(), devservices.S3Bucket, info.Key, minio.GetObjectOptions{})
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(object)
		if err != nil {
			return nil, err
		}
		values = append(values, string(text))
	}
	return values, nil
}

// redis sends commands as lines, and returns the lines of the answers.
func redis(commands string, lines int) ([]string, error) {
	conn, err := net.Dial("tcp", address(379))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, commands); err != nil {
		return nil, err
	}
	var answer []string
	for in := bufio.NewScanner(conn); len(answer) < lines && in.Scan(); {
		answer = append(answer, in.Text())
	}
	return answer, nil
}

func writeRedis(_ *devRig, value string) error {
	answer, err := redis("SET kept:"+value+" "+value+"\r\nGET kept:"+value+"\r\n", 3)
	if err == nil && !slices.Equal(answer, []string{"+OK", "$" + strconv.Itoa(len(value)), value}) {
		err = fmt.Errorf("answers %q", answer)
	}
	return err
}

func readRedis(*devRig) ([]string, error) {
	answer, err := redis("KEYS kept:*\r\n", 1)
	if err != nil || len(answer) == 0 {
		return nil, err
	}
	count, err := strconv.Atoi(strings.TrimPrefix(answer[0], "*"))
	if err != nil {
		return nil, err
	}
	if answer, err = redis("KEYS kept:*\r\n", 1+2*count); err != nil {
		return nil, err
	}
	var values []string
	for _, line := range answer {
		if value, ok := strings.CutPrefix(line, "kept:"); ok {
			values = append(values, value)
		}
	}
	return values, nil
}

func postgres(r *devRig) (*pgx.Conn, error) {
	return pgx.Connect(r.Context(), fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable",
		devservices.PostgresUser, devservices.PostgresPassword, address(432), devservices.PostgresDatabase))
}

func writePostgres(r *devRig, value string) error {
	conn, err := postgres(r)
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	if _, err = conn.Exec(r.Context(), "create table if not exists kept (v text primary key)"); err == nil {
		_, err = conn.Exec(r.Context(), "insert into kept values ($1)", value)
	}
	return err
}

func readPostgres(r *devRig) ([]string, error) {
	conn, err := postgres(r)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(r.Context(), "select v from kept")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
