package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// Kind says what values a key takes: how the help names them, what a message says was expected,
// and the check itself.
type Kind struct {
	Type     string             // one word for the help: "url", "duration", …
	Expected string             // ends the sentence "expected …"
	Valid    func(string) error // nil accepts everything; the error is not shown
	List     bool               // a file may hold a YAML list of such values
	Beside   bool               // a relative path in a configuration file is relative to that file
}

// Bytes is a size in bytes. In text it carries a unit: "64MiB", "1GB".
type Bytes int64

// UnmarshalText reads a size with its unit; it fails on negative sizes and those beyond int64.
func (b *Bytes) UnmarshalText(text []byte) error {
	n, err := humanize.ParseBytes(string(text))
	if err != nil {
		return fmt.Errorf("parse size %q: %w", text, err)
	}
	if n > 1<<62 {
		return fmt.Errorf("parse size %q: too large", text)
	}
	*b = Bytes(n)
	return nil
}

func (b Bytes) String() string {
	if b < 0 {
		return strconv.FormatInt(int64(b), 10)
	}
	return strings.ReplaceAll(humanize.IBytes(uint64(b)), " ", "")
}

// List is several texts. In a file it is a YAML list; environment and flags separate by commas.
type List []string

// UnmarshalText splits at commas and drops the blanks around them; it never fails.
func (l *List) UnmarshalText(text []byte) error {
	*l = nil
	for item := range strings.SplitSeq(string(text), ",") {
		*l = append(*l, strings.TrimSpace(item))
	}
	return nil
}

// list is one or more texts of a kind.
func list(of Kind) Kind {
	return Kind{
		Type:     of.Type + ",…",
		Expected: "one or more, separated by commas, each " + of.Expected,
		List:     true,
		Valid: func(s string) error {
			for item := range strings.SplitSeq(s, ",") {
				if err := of.Valid(strings.TrimSpace(item)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func pattern(typ, expected, expression string) Kind {
	re := regexp.MustCompile("^(?:" + expression + ")$")
	return Kind{Type: typ, Expected: expected, Valid: func(s string) error {
		if !re.MatchString(s) {
			return errors.New("does not match")
		}
		return nil
	}}
}

func filePath(what string) Kind { return Kind{Type: "file", Expected: "the path of " + what} }

// besideFile makes a path in a configuration file relative to that file.
func besideFile(k Kind) Kind {
	k.Beside = true
	return k
}

// endpoint is the address of an HTTP service, without a path.
func endpoint() Kind {
	return Kind{
		Type:     "url",
		Expected: "http://host:port or https://host",
		Valid: func(s string) error {
			u, err := url.Parse(s)
			if err != nil {
				return err
			}
			if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" ||
				u.User != nil || u.RawQuery != "" || u.Fragment != "" {
				return errors.New("not the address of a service")
			}
			return nil
		},
	}
}

func enum(values ...string) Kind {
	return Kind{
		Type:     strings.Join(values, "|"),
		Expected: "one of " + strings.Join(values, ", "),
		Valid: func(s string) error {
			if !slices.Contains(values, s) {
				return fmt.Errorf("not one of %v", values)
			}
			return nil
		},
	}
}

// count is a number of things: at least one.
func count(high int) Kind {
	const low = 1
	return Kind{
		Type:     "int",
		Expected: fmt.Sprintf("a whole number from %d to %d", low, high),
		Valid: func(s string) error {
			n, err := strconv.Atoi(s)
			if err == nil && (n < low || n > high) {
				err = fmt.Errorf("out of range")
			}
			return err
		},
	}
}

// most is the most of something that may be there: it may be nothing.
func most() Kind {
	return Kind{
		Type:     "int",
		Expected: "a whole number from 0",
		Valid: func(s string) error {
			_, err := strconv.ParseUint(s, 10, 63)
			return err
		},
	}
}

func duration(low, high time.Duration) Kind {
	return Kind{
		Type:     "duration",
		Expected: fmt.Sprintf("a duration with its unit, from %v to %v", low, high),
		Valid: func(s string) error {
			d, err := time.ParseDuration(s)
			if err == nil && (d < low || d > high) {
				err = fmt.Errorf("out of range")
			}
			return err
		},
	}
}

func size(low, high Bytes) Kind {
	return Kind{
		Type:     "size",
		Expected: fmt.Sprintf("a size with its unit, from %v to %v", low, high),
		Valid: func(s string) error {
			var b Bytes
			err := b.UnmarshalText([]byte(s))
			if err == nil && (b < low || b > high) {
				err = fmt.Errorf("out of range")
			}
			return err
		},
	}
}

// address is host:port to listen on; the host may be empty and the port 0.
func address() Kind {
	return Kind{Type: "host:port", Expected: "host:port, e.g. 127.0.0.1:8080", Valid: hostPort}
}

func hostPort(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return err
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err
}

// place is the URL of a store. The forms are what the user reads, e.g. "file:///dir"; the checks
// are by scheme, and words (such as "state") stand for themselves.
func place(words []string, forms ...string) Kind {
	schemes := make([]string, len(forms))
	for i, form := range forms {
		schemes[i], _, _ = strings.Cut(form, ":")
	}
	return Kind{
		Type:     "url",
		Expected: strings.Join(append(slices.Clone(words), forms...), " or "),
		Valid: func(s string) error {
			if slices.Contains(words, s) {
				return nil
			}
			u, err := url.Parse(s)
			if err != nil {
				return err
			}
			if !slices.Contains(schemes, u.Scheme) {
				return fmt.Errorf("unknown scheme")
			}
			return checkPlace(u)
		},
	}
}

func checkPlace(u *url.URL) error {
	if (u.Scheme == "file" || u.Scheme == "s3") && (u.User != nil || u.RawQuery != "" || u.Fragment != "") {
		return errors.New("takes a path and nothing else")
	}
	switch u.Scheme {
	case "file", "duckdb":
		if u.Host != "" && u.Host != "localhost" || !path.IsAbs(u.Path) || path.Clean(u.Path) == "/" {
			return fmt.Errorf("needs an absolute path")
		}
		return nil
	case "s3":
		if u.Host == "" {
			return fmt.Errorf("needs a bucket")
		}
		return nil
	}
	if u.Host == "" {
		return fmt.Errorf("needs a host")
	}
	return nil
}

// brokers is kafka://host:port[,host:port…]. url.Parse takes such a list only in part, so the
// check is its own.
func brokers() Kind {
	return Kind{
		Type:     "url",
		Expected: "kafka://host:port[,host:port]",
		Valid: func(s string) error {
			list, ok := strings.CutPrefix(s, "kafka://")
			if !ok {
				return fmt.Errorf("unknown scheme")
			}
			for broker := range strings.SplitSeq(list, ",") {
				host, port, err := net.SplitHostPort(broker)
				if err != nil {
					return err
				}
				if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
					return fmt.Errorf("needs host and port")
				}
			}
			return nil
		},
	}
}
