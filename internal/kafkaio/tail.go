package kafkaio

import "errors"

// OpenPartitionTails is OpenPartition for records whose headers matter: the Value of each is a tail,
// which SplitTail takes apart. Records without headers cost nothing more for it.
func (c *Client) OpenPartitionTails(topic string, partition int32, offset int64) *Reader {
	r := c.OpenPartition(topic, partition, offset)
	r.tails = true
	return r
}

// SplitTail returns the value and the headers of a record that a reader of tails has returned, as
// views into it. A header that is there twice counts with its last value.
func SplitTail(tail []byte) (value []byte, headers map[string][]byte, err error) {
	c := cursor{b: tail}
	value = c.bytes()
	n := c.varint()
	if c.bad || n < 0 || n > int64(len(c.b)) {
		return nil, nil, errors.New("the headers of a record are malformed")
	}
	headers = make(map[string][]byte, n)
	for range n {
		key := c.bytes()
		headers[string(key)] = c.bytes()
	}
	if c.bad {
		return nil, nil, errors.New("the headers of a record are malformed")
	}
	return value, headers, nil
}
