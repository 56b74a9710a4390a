package kafkaio

import (
	"fmt"
	"testing"

	"github.com/clickledger/clickledger/schemas"
)

func TestSplitTail(t *testing.T) {
	t.Parallel()
	_, brokers := startBroker(t, 1)
	in := []OutRecord{
		{Topic: schemas.TopicDLQ, Key: []byte("k"), Value: []byte("value"), Headers: []Header{{"a", []byte("1")}, {"b", nil}, {"a", []byte("2")}}},
		{Topic: schemas.TopicDLQ, Value: nil},
		{Topic: schemas.TopicDLQ, Value: []byte{}},
	}
	if err := openProducer(t, brokers).ProduceAll(testContext(t), in); err != nil {
		t.Fatal(err)
	}
	got := readAll(t, connect(t, brokers).OpenPartitionTails(schemas.TopicDLQ, 0, 0), FetchLimits{})
	if len(got) != len(in) {
		t.Fatalf("got %d records", len(got))
	}
	for i, want := range []string{`value map["a":"2" "b":""]`, " map[]", " map[]"} {
		value, headers, err := SplitTail(got[i].Value)
		if text := fmt.Sprintf("%s %q", value, headers); err != nil || text != want || (value == nil) != (in[i].Value == nil) {
			t.Errorf("record %d: got %s, %v, want %s", i, text, err, want)
		}
	}
	whole := got[0].Value
	for n := range whole {
		if _, _, err := SplitTail(whole[:n]); err == nil {
			t.Errorf("%d of %d bytes were taken", n, len(whole))
		}
	}
}
