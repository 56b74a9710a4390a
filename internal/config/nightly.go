package config

import "time"

// init adds the keys of nightly to the table, at its end.
func init() {
	keys = append(keys, Key{
		Name: "nightly.delay", Flag: "delay", Default: "2h", Kind: duration(0, 7*24*time.Hour),
		Help: "how long after its end a day stays open, so that late clicks are in",
	}, Key{
		Name: "nightly.webhook_file", Flag: "webhook-file",
		Kind: besideFile(filePath("a readable file whose first line is an https:// URL")),
		Help: "where the summary of nightly is sent; the URL is a secret",
	}, Key{
		Name: "nightly.webhook_timeout", Flag: "webhook-timeout", Default: "10s", Kind: duration(100*time.Millisecond, time.Minute),
		Help: "how long a try to send the summary may take; there are at most five",
	})
}

// Nightly is the job that settles every night.
type Nightly struct {
	Delay          time.Duration `koanf:"delay"`
	WebhookFile    string        `koanf:"webhook_file"` // its first line is the URL, a secret
	WebhookTimeout time.Duration `koanf:"webhook_timeout"`
}
