package kafkaio

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/clickledger/clickledger/schemas"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// ClicksBytesMax is the largest batch, so the largest record, of the topics clicks and
	// impressions. It leaves room for records far over the policy's limit, which become dead letters.
	ClicksBytesMax = 8 << 20
	// ForwardBytesMax is the same of clicks.dlq and clicks.decisions: such a record and an envelope.
	ForwardBytesMax = 16 << 20

	// createTimeout bounds the creation of all topics.
	createTimeout = 15 * time.Second
)

// Topics lists the product's topics.
func Topics() []string {
	return []string{
		schemas.TopicClicks, schemas.TopicImpressions, schemas.TopicDLQ, schemas.TopicDecisions,
	}
}

// bytesMax is the largest batch that a topic takes.
func bytesMax(topic string) int32 {
	if topic == schemas.TopicDLQ || topic == schemas.TopicDecisions {
		return ForwardBytesMax
	}
	return ClicksBytesMax
}

// topicSettings are a topic's settings: kept for ever and taken whatever the records' times say, as
// replayed old days carry old times.
func topicSettings(topic string) map[string]string {
	return map[string]string{
		"cleanup.policy":    "delete",
		"retention.ms":      "-1",
		"retention.bytes":   "-1",
		"max.message.bytes": strconv.Itoa(int(bytesMax(topic))),
	}
}

// timeSettings are those that brokers before 3.6 do not know.
func timeSettings() map[string]string {
	forever := strconv.FormatInt(math.MaxInt64, 10)
	return map[string]string{
		"message.timestamp.before.max.ms": forever,
		"message.timestamp.after.max.ms":  forever,
	}
}

// replicas are how many copies of a record a new topic keeps, and how many must have it before it is
// acknowledged: as many as there are brokers, up to 3 of which 2 must be in sync, so that one broker
// may be lost at any time.
func replicas(brokers int) (factor int16, inSync int) {
	switch {
	case brokers >= 3:
		return 3, 2
	case brokers == 2:
		return 2, 1
	}
	return 1, 1
}

// EnsureTopics creates the product's topics that are missing, with so many partitions each and as
// many replicas as the cluster allows (see replicas). Topics that are there keep their partitions
// and settings.
func EnsureTopics(ctx context.Context, brokers []string, partitions int) error {
	if partitions < 1 {
		return fmt.Errorf("create topics: %d partitions", partitions)
	}
	options, err := ClientOptions(brokers)
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(options...)
	if err != nil {
		return fmt.Errorf("%s: create topics: %w", URL(brokers), err)
	}
	if err := ping(ctx, cl, DefaultConnectTimeout); err != nil {
		go cl.Close() // see OpenProducer
		return fmt.Errorf("%s: not reachable: %w", URL(brokers), oneLine(err))
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	adm := kadm.NewClient(cl)
	cluster, err := adm.ListBrokers(ctx)
	if err != nil {
		return fmt.Errorf("%s: list brokers: %w", URL(brokers), oneLine(err))
	}
	for _, topic := range Topics() {
		if err := ensureTopic(ctx, adm, topic, int32(partitions), len(cluster)); err != nil {
			return fmt.Errorf("%s: create topic %s: %w", URL(brokers), topic, oneLine(err))
		}
	}
	return nil
}

func ensureTopic(ctx context.Context, adm *kadm.Client, topic string, partitions int32, brokers int) error {
	factor, inSync := replicas(brokers)
	settings := topicSettings(topic)
	settings["min.insync.replicas"] = strconv.Itoa(inSync)
	older := maps.Clone(settings)
	maps.Copy(settings, timeSettings())
	err := createTopic(ctx, adm, topic, partitions, factor, settings)
	if errors.Is(err, kerr.InvalidConfig) {
		err = createTopic(ctx, adm, topic, partitions, factor, older)
	}
	if errors.Is(err, kerr.TopicAlreadyExists) {
		return nil
	}
	return err
}

func createTopic(
	ctx context.Context, adm *kadm.Client, topic string, partitions int32, factor int16, settings map[string]string,
) error {
	configs := map[string]*string{}
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		v := settings[k]
		configs[k] = &v
	}
	res, err := adm.CreateTopic(ctx, partitions, factor, configs, topic)
	if err != nil {
		return err
	}
	return res.Err
}
