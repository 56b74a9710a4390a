package reconcile

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/reconcileduck"
)

// hostile are ids that try to leave the place that they are put in.
var hostile = []string{`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `</text></svg><b>`, `a'b&amp;{{.Date}}`,
	"\u202egpj.exe", "nul\x00\x1b[31m", `]]>--><!--`, `" style="background:url(//x)`}

func hostileReport() (*Report, *reconcileduck.Result, map[string]int64) {
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	compared := &reconcileduck.Result{Discrepancies: 100, Delays: []reconcileduck.Delay{{Millis: -1, Clicks: 2}, {Clicks: 12_345}, {Millis: 600_000, Clicks: 7, Late: 7}}}
	for i, id := range hostile {
		partition, offset := int32(0), int64(i)
		compared.Advertisers = append(compared.Advertisers, reconcileduck.Advertiser{ID: id,
			Batch: reconcileduck.Sums{RawClicks: 10, BillableClicks: 9, SpendMicros: 5_000_000}, Stream: reconcileduck.Sums{RawClicks: 8, BillableClicks: 8, SpendMicros: 4_000_000},
			Effects:     map[string]reconcileduck.Effect{"late_in_stream": {Clicks: 1, Micros: 1_000_000, Gross: 1}},
			GrossClicks: 1, GrossMicros: 1_000_000 + int64(i)})
		compared.Listed = append(compared.Listed, reconcileduck.Discrepancy{Partition: &partition, Offset: &offset, ClickID: id, AdvertiserID: id, AdID: id,
			MinuteMillis: day.UnixMilli(), Cause: "late_in_stream", DeltaClicks: 1, DeltaMicros: 1_000_000, StreamVerdict: "late", BatchVerdict: "billable"})
	}
	for i := range int64(1440) {
		compared.Minutes = append(compared.Minutes, reconcileduck.Minute{Millis: day.UnixMilli() + i*60_000, StreamClicks: 100 + i, BatchClicks: 100 + i + i%7/6})
	}
	rep := &Report{Date: "2026-03-01", Cut: day, Result: "results/dt=2026-03-01/rev=1", Listed: compared.Listed, Discrepancies: 100,
		Gate: []Check{{Name: checkSums, Detail: "advertiser " + hostile[0]}}, HeldAdvertisers: hostile}
	rep.sum(compared.Advertisers)
	return rep, compared, map[string]int64{"velocity_ip_ad": 5, "listed_ip": 1_234_567}
}

// TestPage: the page is whole and accessible, loads nothing, and no text from outside becomes markup.
func TestPage(t *testing.T) {
	t.Parallel()
	rep, compared, invalid := hostileReport()
	var page bytes.Buffer
	if err := writePage(&page, rep, compared, invalid); err != nil {
		t.Fatal(err)
	}
	if path := os.Getenv("CLICKLEDGER_TEST_PAGE"); path != "" {
		if err := os.WriteFile(path, page.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := page.String()
	count := checkMarkup(t, text)
	if count["svg"] != 6 || count["table"] != 8 || count["script"] != 0 || count["img"] != 0 || count["b"] != 0 {
		t.Errorf("elements: %v", count)
	}
	for _, want := range []string{"Stream against batch, by minute", "Causes of the difference, by share", "Drift by advertiser", "Invalid traffic, by rule",
		"Lateness", "prefers-color-scheme: dark", "12,345", "1,234,567", "&lt;script&gt;alert(1)", `&#34;\u202egpj.exe&#34;`} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if alts := regexp.MustCompile(`role="img" aria-label="[^"]{20,}"`).FindAllString(text, -1); len(alts) != 5 {
		t.Errorf("alternative texts: %q", alts)
	}
	if strings.Contains(text, "rgb(1,2,") {
		t.Error("a colour of a chart is not of the style sheet")
	}
}

// TestPageOfNothing: no advertiser, no minute, no cause.
func TestPageOfNothing(t *testing.T) {
	t.Parallel()
	var page bytes.Buffer
	if err := writePage(&page, &Report{}, &reconcileduck.Result{}, nil); err != nil {
		t.Fatal(err)
	}
	if count := checkMarkup(t, page.String()); count["svg"] != 2 { // those with fixed classes
		t.Errorf("elements: %v", count)
	}
}

// checkMarkup parses the page, in which every element but the empty ones is closed, and counts its elements.
func checkMarkup(t *testing.T, text string) map[string]int {
	t.Helper()
	count := map[string]int{}
	_, body, _ := strings.Cut(text, "<body>")
	dec := xml.NewDecoder(strings.NewReader("<body>" + strings.TrimSuffix(strings.TrimSpace(body), "</html>")))
	dec.Entity = xml.HTMLEntity
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return count
		}
		if err != nil {
			t.Fatal(err)
		}
		element, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		count[element.Name.Local]++
		for _, a := range element.Attr {
			if name := a.Name.Local; strings.HasPrefix(name, "on") || name == "href" || name == "src" || strings.Contains(a.Value, "url(") {
				t.Errorf("%s has %s", element.Name.Local, fmt.Sprintf("%s=%q", name, a.Value))
			}
		}
	}
}
