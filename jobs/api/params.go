package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// parameters reads a query string, and collects everything that is wrong with it.
type parameters struct {
	values url.Values
	known  []string
	errors []badParameter
}

func parseParameters(rawQuery string) *parameters {
	p := &parameters{}
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		p.badf("", "the query string is not well formed")
	}
	if len(values) > queriesMax {
		p.badf("", "there are too many parameters")
		values = nil
	}
	p.values = values
	return p
}

func (p *parameters) badf(name, format string, args ...any) {
	p.errors = append(p.errors, badParameter{Parameter: name, Detail: fmt.Sprintf(format, args...)})
}

// get returns the value of a parameter that comes at most once.
func (p *parameters) get(name string) (string, bool) {
	p.known = append(p.known, name)
	values := p.values[name]
	if len(values) > 1 {
		p.badf(name, "comes %d times: want it once", len(values))
		return "", false
	}
	if len(values) == 0 {
		return "", false
	}
	return values[0], true
}

// id reads an identifier. An empty one is an error, not none: who asks for the campaign "" is not told
// the numbers of all.
func (p *parameters) id(name string, isRequired bool) string {
	text, ok := p.get(name)
	switch {
	case !ok && isRequired && len(p.values[name]) == 0:
		p.badf(name, "is missing")
	case !ok:
	case text == "":
		p.badf(name, "is empty")
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		p.badf(name, "holds what is no text")
	case utf8.RuneCountInString(text) > idBytesMax:
		p.badf(name, "is longer than %d characters", idBytesMax)
	default:
		return text
	}
	return ""
}

// oneOf reads one of a few words.
func (p *parameters) oneOf(name, value string, words ...string) string {
	text, ok := p.get(name)
	if !ok {
		return value
	}
	if !slices.Contains(words, text) {
		p.badf(name, "want one of %s", strings.Join(words, ", "))
		return value
	}
	return text
}

// number reads a whole number.
func (p *parameters) number(name string, value, high int) int {
	text, ok := p.get(name)
	if !ok {
		return value
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > high {
		p.badf(name, "want a whole number from 1 to %d", high)
		return value
	}
	return n
}

// secondsMax is a time that the serving table can hold: 32 bits of seconds.
const secondsMax = 1<<32 - 1

// span is [from, to) in seconds, whole buckets.
type span struct{ from, to int64 }

// span reads start_time and end_time, and widens them to whole buckets of so many seconds.
func (p *parameters) span(bucket int64) span {
	var at [2]int64
	ok := true
	for i, name := range []string{"start_time", "end_time"} {
		text, given := p.get(name)
		n, err := strconv.ParseInt(text, 10, 64)
		switch {
		case !given:
			if len(p.values[name]) < 2 {
				p.badf(name, "is missing")
			}
			ok = false
		case err != nil || n < 0 || n > secondsMax-daySeconds:
			p.badf(name, "want Unix seconds from 0 to %d", int64(secondsMax-daySeconds))
			ok = false
		default:
			at[i] = n
		}
	}
	if !ok {
		return span{}
	}
	if at[1] <= at[0] {
		p.badf("end_time", "want a time after start_time")
		return span{}
	}
	if at[1]-at[0] > RangeDaysMax*daySeconds {
		p.badf("end_time", "want at most %d days after start_time", RangeDaysMax)
		return span{}
	}
	return span{at[0] / bucket * bucket, (at[1] + bucket - 1) / bucket * bucket}
}

const daySeconds = 24 * 60 * 60

// granularities are the buckets by their names.
var granularities = []struct {
	name    string
	seconds int64
}{{"1m", 60}, {"5m", 300}, {"1h", 3600}, {"1d", daySeconds}}

func (p *parameters) granularity() (string, int64) {
	names := make([]string, len(granularities))
	for i, g := range granularities {
		names[i] = g.name
	}
	text, ok := p.get("granularity")
	if !ok && len(p.values["granularity"]) == 0 {
		p.badf("granularity", "is missing: want one of %s", strings.Join(names, ", "))
	}
	if !ok {
		return names[0], granularities[0].seconds
	}
	i := slices.Index(names, text)
	if i < 0 {
		p.badf("granularity", "want one of %s", strings.Join(names, ", "))
		i = 0
	}
	return names[i], granularities[i].seconds
}

// date reads a day or a month, in the layout.
func (p *parameters) date(name, layout, example string) (time.Time, bool) {
	text, ok := p.get(name)
	if !ok {
		return time.Time{}, false
	}
	at, err := time.Parse(layout, text)
	if err != nil || at.Year() < 1970 || at.Year() > 2105 {
		p.badf(name, "want a date like %s", example)
		return time.Time{}, false
	}
	return at, true
}

// cursor is the last point of a page.
type cursor struct {
	bucket int64
	part   string
}

// start is before every point.
var start = cursor{bucket: -1}

func (c cursor) String() string {
	doc, err := json.Marshal([]any{c.bucket, c.part})
	if err != nil {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(doc)
}

func (p *parameters) cursor() cursor {
	text, ok := p.get("cursor")
	if !ok {
		return start
	}
	var c cursor
	doc, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil && len(text) <= cursorBytesMax {
		err = json.Unmarshal(doc, &[]any{&c.bucket, &c.part})
	}
	if err != nil || len(text) > cursorBytesMax || c.bucket < 0 || c.bucket > secondsMax || c.String() != text {
		p.badf("cursor", "want the next_cursor of a page")
		return start
	}
	return c
}

// check returns the problem if anything was wrong; parameters that nobody asked for are.
func (p *parameters) check() *problem {
	unknown := []string{}
	for name := range p.values {
		if !slices.Contains(p.known, name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		p.badf(cut(name), "there is no such parameter")
	}
	if len(p.errors) == 0 {
		return nil
	}
	problem := newProblem(400, "bad-parameters", "Bad parameters", fmt.Sprintf("%d parameters are not as they should be", len(p.errors)))
	if len(p.errors) == 1 {
		problem.Detail = "1 parameter is not as it should be"
	}
	problem.Errors = p.errors
	return problem
}

// cut bounds a text of the caller's.
func cut(text string) string {
	if !utf8.ValidString(text) {
		text = strconv.QuoteToASCII(text)
	}
	if len(text) > idBytesMax {
		return strconv.QuoteToASCII(text[:idBytesMax]) + "…"
	}
	return text
}
