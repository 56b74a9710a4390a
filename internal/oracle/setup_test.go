package oracle

import (
	"fmt"
	"math"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/policy"
)

// noon is the event time of a click in these tests unless it says otherwise.
var noon = time.Date(2026, 11, 10, 12, 0, 0, 0, time.UTC).UnixMilli()

// event is a click to encode; zero fields get good values, so a case names only what it is about.
type event struct {
	id, ad, advertiser, campaign, user, ip, agent string
	cost                                          float64
	atMillis                                      int64 // event time; received then too
	timestamp                                     int64 // raw, instead of atMillis
	receivedMicros                                int64 // field 11, instead of the event time
	noReceivedAt                                  bool  // leave field 11 out
	country, device                               string
	extra                                         []byte
}

func (e event) encode() []byte {
	var b []byte
	text := func(n protowire.Number, s string) {
		if s != "" {
			b = protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), s)
		}
	}
	text(1, e.id)
	text(2, e.ad)
	text(3, e.advertiser)
	text(4, e.campaign)
	text(5, e.user)
	b = protowire.AppendFixed64(protowire.AppendTag(b, 6, protowire.Fixed64Type), math.Float64bits(e.cost))
	text(7, e.ip)
	text(8, e.agent)
	b = protowire.AppendVarint(protowire.AppendTag(b, 9, protowire.VarintType), uint64(e.timestamp))
	if !e.noReceivedAt {
		b = protowire.AppendVarint(protowire.AppendTag(b, 11, protowire.VarintType), uint64(e.receivedMicros))
	}
	text(12, e.country)
	text(13, e.device)
	return append(b, e.extra...)
}

// click is an event with good values in every field that is not given; "-" means empty.
func click(e event) event {
	for field, value := range map[*string]string{&e.id: "click-1", &e.ad: "ad", &e.advertiser: "adv", &e.campaign: "camp"} {
		switch *field {
		case "":
			*field = value
		case "-":
			*field = ""
		}
	}
	if e.atMillis == 0 {
		e.atMillis = noon
	}
	if e.timestamp == 0 {
		e.timestamp = e.atMillis
	}
	if e.receivedMicros == 0 && !e.noReceivedAt {
		e.receivedMicros = e.atMillis * 1000
	}
	return e
}

// log lays the events on partition 0 at offsets 0, 1, 2 …; the record's time is the event time.
func log(events ...event) []schemas.Record {
	records := make([]schemas.Record, len(events))
	for i, e := range events {
		e = click(e)
		records[i] = schemas.Record{
			Position: schemas.Position{Offset: int64(i)}, TimestampMicros: e.atMillis * 1000, Value: e.encode(),
		}
	}
	return records
}

// burst is n unique clicks of one identity from atMillis, stepMillis apart.
func burst(n int, prefix string, atMillis, stepMillis int64, e event) []event {
	events := make([]event, n)
	for i := range events {
		events[i] = e
		events[i].id = fmt.Sprintf("%s-%03d", prefix, i)
		events[i].atMillis = atMillis + int64(i)*stepMillis
	}
	return events
}

// verdicts writes the verdicts of a log compactly, one letter a record in order of position:
// B billable, D duplicate, I invalid, X dead letter.
func verdicts(t *testing.T, res *Result) string {
	t.Helper()
	out := make([]byte, len(res.Outcomes))
	for i, o := range res.Outcomes {
		out[i] = "BDIX"[o.Verdict]
	}
	return string(out)
}

// revisions parses a policy from YAML revisions.
func revisions(t *testing.T, doc string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return p
}
