package kafkaio

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

const scheme = "kafka://"

// ParseURL reads kafka://host:port[,host:port…] as a list of brokers. The error names the URL.
func ParseURL(url string) ([]string, error) {
	brokers, err := parseBrokers(url)
	if err != nil {
		return nil, fmt.Errorf("log %q: %w", url, err)
	}
	return brokers, nil
}

// URL is the inverse of ParseURL.
func URL(brokers []string) string { return scheme + strings.Join(brokers, ",") }

func parseBrokers(url string) ([]string, error) {
	list, ok := strings.CutPrefix(url, scheme)
	if !ok {
		return nil, errors.New("not of the form kafka://host:port[,host:port]")
	}
	var brokers []string
	for b := range strings.SplitSeq(list, ",") {
		host, port, err := net.SplitHostPort(strings.TrimSpace(b))
		if err != nil {
			return nil, fmt.Errorf("broker %q: not of the form host:port", b)
		}
		if host == "" {
			return nil, fmt.Errorf("broker %q: no host", b)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("broker %q: the port is not in 1-65535", b)
		}
		brokers = append(brokers, net.JoinHostPort(host, port))
	}
	return brokers, nil
}
