package ledgerpg

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/clickledger/clickledger/internal/money"
)

// seedEnvironment repeats a random history; historiesEnvironment says how many there are.
const (
	seedEnvironment      = "CLICKLEDGER_TEST_SEED"
	historiesEnvironment = "CLICKLEDGER_TEST_HISTORIES"
)

// click is one billable or invalid click of the model's log.
type click struct {
	advertiser int
	day        int
	micros     int64
	// isKnown: it has arrived; isInvalid: the policy in force rejects it.
	isKnown, isInvalid bool
}

// model is what the ledger has to come to, kept as plainly as can be.
type model struct {
	f          *fixture
	random     *rand.Rand
	clicks     []click
	registered map[int]bool
	paid       map[int]int64 // payments and credits less reversals
	closed     time.Time     // the first open day
	receipts   []ReferenceResult
	run        int
}

// The model's days lie a week apart, over three months.
const modelAdvertisers, modelDays = 5, 10

var modelStart = time.Date(2026, 9, 10, 0, 0, 0, 0, time.UTC)

// TestRandomHistories runs days, late clicks, changed policies, closes, payments, crashes and repeated
// runs in random order. After every step an advertiser's balance is the sum of his ledger and the exact
// micros of his billable clicks, less what he paid, rounded once; and what a day holds is the sum of the
// clicks of that day and no other, so that no click is in two charges.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	histories := 2
	if text := os.Getenv(historiesEnvironment); text != "" {
		histories, _ = strconv.Atoi(text)
	}
	for range histories {
		seed := rand.Uint64()
		if text := os.Getenv(seedEnvironment); text != "" {
			seed, _ = strconv.ParseUint(text, 10, 64)
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			m := &model{f: f, random: rand.New(rand.NewPCG(seed, 1)), registered: map[int]bool{}, paid: map[int]int64{}, closed: time.Time{}}
			m.register(0, 1, 2)
			for range 30 {
				m.step()
				m.check()
			}
			f.sound()
		})
	}
}

func advertiserName(i int) string { return fmt.Sprintf("adv-%d", i) }

func (m *model) dayOf(i int) time.Time { return modelStart.AddDate(0, 0, 7*i) }

func (m *model) register(advertisers ...int) {
	for _, a := range advertisers {
		m.f.register(advertiserName(a))
		m.registered[a] = true
	}
}

// step does one random thing.
func (m *model) step() {
	m.run++
	switch kind := m.random.IntN(20); {
	case kind < 5: // clicks come in, some of them late
		for range 1 + m.random.IntN(30) {
			micros := m.random.Int64N(2_000)
			if m.random.IntN(3) == 0 {
				micros = m.random.Int64N(20) * 50 // ties of the rounding
			}
			m.clicks = append(m.clicks, click{advertiser: m.random.IntN(modelAdvertisers), day: m.random.IntN(modelDays),
				micros: micros, isKnown: m.random.IntN(4) > 0})
		}
	case kind < 7: // late ones arrive
		for i := range m.clicks {
			m.clicks[i].isKnown = m.clicks[i].isKnown || m.random.IntN(2) == 0
		}
	case kind < 9: // another policy for the past
		for i := range m.clicks {
			if m.random.IntN(6) == 0 {
				m.clicks[i].isInvalid = !m.clicks[i].isInvalid
			}
		}
	case kind < 11:
		m.pay()
	case kind == 11:
		m.close()
	case kind == 12:
		m.register(m.random.IntN(modelAdvertisers))
	case kind == 13:
		if _, _, err := m.f.ledger.MoveSuspense(m.f.t.Context(), fmt.Sprint("move-", m.run)); err != nil {
			m.f.t.Fatal(err)
		}
	default:
		for range 2 {
			m.settle(m.random.IntN(modelDays))
		}
	}
}

// billed is the model's bill of a day.
func (m *model) billed(day int) map[string]Charge {
	charges := map[string]Charge{}
	for _, c := range m.clicks {
		if c.day != day || !c.isKnown {
			continue
		}
		name := advertiserName(c.advertiser)
		sum := charges[name]
		sum.AdvertiserID = name
		if c.isInvalid {
			sum.InvalidClicks++
		} else {
			sum.Clicks++
			sum.SpendMicros += money.Micros(c.micros)
		}
		charges[name] = sum
	}
	return charges
}

// settle posts a day, sometimes by a run that is cut off, by two at once, or after a dry run.
func (m *model) settle(day int) {
	bills := m.billed(day)
	request := request(m.dayOf(day))
	request.RunID = fmt.Sprint("run-", m.run)
	for _, id := range slices.Sorted(maps.Keys(bills)) {
		request.Charges = append(request.Charges, bills[id])
	}
	ctx := m.f.t.Context()
	switch m.random.IntN(4) {
	case 0:
		short, cancel := context.WithTimeout(ctx, time.Duration(m.random.IntN(20))*time.Millisecond)
		_, _ = m.f.ledger.Post(short, request) // done or not: the next run finds out
		cancel()
	case 1:
		other := make(chan error)
		go func() {
			_, err := m.f.ledger.Post(ctx, request)
			other <- err
		}()
		defer func() {
			if err := <-other; err != nil {
				m.f.t.Error(err)
			}
		}()
	case 2:
		dry := request
		dry.DryRun = true
		m.f.post(dry)
	}
	m.f.post(request)
	if again := m.f.post(request); again.PostedEntries != 0 {
		m.f.t.Errorf("posting %s again made %d entries", m.dayOf(day), again.PostedEntries)
	}
}

// pay posts a payment or a credit, twice, or takes one back.
func (m *model) pay() {
	ctx := m.f.t.Context()
	if len(m.receipts) > 0 && m.random.IntN(3) == 0 {
		entry := m.receipts[m.random.IntN(len(m.receipts))].Entry
		result, err := m.f.ledger.Reverse(ctx, ReverseRequest{EntryID: entry.EntryID, Date: m.dayOf(modelDays), Reason: "undone", RunID: "hand"})
		if err != nil {
			m.f.t.Fatal(err)
		}
		if !result.WasPosted {
			m.paid[m.numberOf(entry.AdvertiserID)] += int64(entry.AmountMicros)
		}
		return
	}
	advertiser := m.random.IntN(modelAdvertisers)
	kind := []string{KindPayment, KindCredit}[m.random.IntN(2)]
	receipt := receipt(kind, advertiserName(advertiser), m.dayOf(m.random.IntN(modelDays)), 10_000*(1+m.random.Int64N(50)),
		fmt.Sprint("reference-", m.run), "a reason")
	result, err := m.f.ledger.PostReceipt(ctx, receipt)
	if !m.registered[advertiser] {
		if !errors.Is(err, ErrUnknown) {
			m.f.t.Errorf("paid by nobody: %v", err)
		}
		return
	}
	if err != nil {
		m.f.t.Fatal(err)
	}
	m.receipts = append(m.receipts, result)
	m.paid[advertiser] += int64(receipt.AmountMicros)
	again, err := m.f.ledger.PostReceipt(ctx, receipt)
	if err != nil || !again.WasPosted || again.Entry.EntryID != result.Entry.EntryID {
		m.f.t.Errorf("paid again: %+v, %v", again, err)
	}
	receipt.AmountMicros += 10_000
	if _, err := m.f.ledger.PostReceipt(ctx, receipt); !errors.Is(err, ErrConflict) {
		m.f.t.Errorf("the reference with another amount: %v", err)
	}
}

func (m *model) numberOf(name string) int {
	for i := range modelAdvertisers {
		if advertiserName(i) == name {
			return i
		}
	}
	return -1
}

// close closes the next month.
func (m *model) close() {
	if m.closed.IsZero() {
		m.closed = time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	}
	m.f.closeMonth(m.closed)
	m.closed = m.closed.AddDate(0, 1, 0)
}

// check settles every day and compares the ledger with the model, by day and by advertiser.
func (m *model) check() {
	t := m.f.t
	t.Helper()
	if m.random.IntN(4) > 0 {
		return // a settled state is not needed after every step
	}
	owed := map[int]int64{}
	for day := range modelDays {
		bills := m.billed(day)
		held := m.f.dayMicros(m.dayOf(day))
		if len(bills) == 0 && len(held) == 0 {
			continue
		}
		m.settle(day)
		held = m.f.dayMicros(m.dayOf(day))
		for a := range modelAdvertisers {
			want := int64(bills[advertiserName(a)].SpendMicros)
			if got := held[advertiserName(a)]; got != want {
				t.Fatalf("%s %s: the ledger holds %d micros, the clicks are %d", m.dayOf(day).Format(time.DateOnly), advertiserName(a), got, want)
			}
			owed[a] += want
		}
	}
	if _, _, err := m.f.ledger.MoveSuspense(t.Context(), "check"); err != nil {
		t.Fatal(err)
	}
	for a := range modelAdvertisers {
		if !m.registered[a] {
			continue
		}
		balance, err := m.f.ledger.Balance(t.Context(), advertiserName(a))
		if err != nil {
			t.Fatal(err)
		}
		if want := -money.RoundHalfEvenToDecimal4(owed[a] - m.paid[a]); balance.BalanceDecimal4 != want {
			t.Fatalf("%s: balance %d, want %d: %d micros billed, %d paid", advertiserName(a), balance.BalanceDecimal4, want, owed[a], m.paid[a])
		}
	}
	m.f.sound()
}
