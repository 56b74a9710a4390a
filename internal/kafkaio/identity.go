package kafkaio

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// identityTimeout bounds the question for a topic's identity.
const identityTimeout = 15 * time.Second

// TopicIdentity names a topic so that another one of the same name, in another cluster or created
// later, has another identity. Brokers before 2.8 know none: then it is that of the cluster and the
// name.
func TopicIdentity(ctx context.Context, brokers []string, topic string) (string, error) {
	options, err := ClientOptions(brokers)
	if err != nil {
		return "", err
	}
	cl, err := kgo.NewClient(options...)
	if err != nil {
		return "", fmt.Errorf("identity of topic %s: %w", topic, err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, identityTimeout)
	defer cancel()
	meta, err := kadm.NewClient(cl).Metadata(ctx, topic)
	if err != nil {
		return "", fmt.Errorf("identity of topic %s: %w", topic, err)
	}
	t := meta.Topics[topic]
	if t.Err != nil {
		return "", fmt.Errorf("identity of topic %s: %w", topic, t.Err)
	}
	return fmt.Sprintf("%s/%s/%s", meta.Cluster, topic, t.ID), nil
}
