package ledgerpg

import (
	"errors"
	"testing"
)

// TestPlace: every entry of a history stands in its link, balances, and is sealed where its month is
// closed; one that was changed is not intact, and one that there is not is unknown.
func TestPlace(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.history()
	head, err := f.ledger.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	links := map[int64]string{0: ""}
	for id := int64(1); id <= head.LastEntryID; id++ {
		place, err := f.ledger.Place(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		links[place.LinkID] = place.LinkHash
		if linkID, err := f.ledger.FindLink(t.Context(), place.LinkHash); err != nil || linkID != place.LinkID {
			t.Errorf("entry %d: link %d has the hash of link %d: %v", id, place.LinkID, linkID, err)
		}
		if before, known := links[place.LinkID-1]; known && before != place.PreviousHash {
			t.Errorf("entry %d: the link before has the hash %s, not %s", id, before, place.PreviousHash)
		}
		if place.EntryID != id || !place.IsIntact || len(place.EntryHash) != 64 || place.FirstEntryID > id || place.LastEntryID < id ||
			place.HeadID != head.LinkID || place.HeadHash != head.LinkHash {
			t.Errorf("entry %d stands at %+v", id, place)
		}
		if isOpen := id == head.LastEntryID; (place.SealHash == "") != isOpen {
			t.Errorf("entry %d has the seal %q", id, place.SealHash)
		}
		var sum int64
		for _, p := range place.Postings {
			sum += map[string]int64{"D": 1, "C": -1}[p.Side] * int64(p.AmountMicros)
		}
		if len(place.Postings) < 2 || sum != 0 {
			t.Errorf("entry %d has the postings %+v", id, place.Postings)
		}
	}
	if _, err := f.ledger.Place(t.Context(), head.LastEntryID+1); !errors.Is(err, ErrUnknown) {
		t.Errorf("an entry that there is not: %v", err)
	}
	if err := f.execute("set session_replication_role = replica"); err != nil {
		t.Fatal(err)
	}
	if err := f.execute("update journal_entries set day_clicks = day_clicks + 1 where entry_id = 1"); err != nil {
		t.Fatal(err)
	}
	if place, err := f.ledger.Place(t.Context(), 1); err != nil || place.IsIntact {
		t.Errorf("a changed entry: %+v, %v", place, err)
	}
}
