package dedup

import (
	"fmt"
	"net/url"
	"sync"

	"github.com/clickledger/clickledger/schemas"
	"github.com/clickledger/clickledger/schemas/claim"
)

// Store keeps what is remembered of the click_ids of one shard outside of this process. It is asked
// once a block, not once a click. It is for one goroutine.
type Store interface {
	// Judge sets the owner of each claim. The claims are in log order, and any of them may have
	// been judged before, by this worker or by another one. An error means that none counts.
	Judge(claims []claim.Claim, owners []claim.Owner) error
	// Save returns what another process must know in order to go on with the same memory; Load
	// takes it.
	Save() []byte
	Load(saved []byte) error
}

// StoreConfig names a store. It is part of the job graph and holds no secrets. The zero value is
// no store: the click_ids are in the operator's own state.
type StoreConfig struct {
	URL          string // without a password
	PasswordFile string // whose first line is the password; may be empty
	RunID        string // of the job, for what is known of it in this process
	// Name separates what belongs to one log and policy from everything else in the store.
	Name string
	// SpanMillis is how long a click_id is remembered at least, by log time.
	SpanMillis int64
	// KeepMillis is how long the store may keep what is not written any more, by its own clock.
	KeepMillis int64
	// KeepsState has the operator's own state kept as well, for the day when the store is away.
	KeepsState bool
}

// OpenStores returns a function that gives the store of a shard.
type OpenStores func(cfg StoreConfig) (func(shard int32) Store, error)

// openers are the known kinds of stores, by the scheme of their URL.
var openers sync.Map

// RegisterStores makes a kind of store known in this process.
func RegisterStores(scheme string, open OpenStores) { openers.Store(scheme, open) }

func openStores(cfg StoreConfig) (func(shard int32) Store, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("dedup store: parse the url: %w", err)
	}
	open, ok := openers.Load(u.Scheme)
	if !ok {
		return nil, fmt.Errorf("dedup store: this program knows none of the scheme %q", u.Scheme)
	}
	return open.(OpenStores)(cfg)
}

// shared is a core's side of its store: the claims of the clicks that are due.
type shared struct {
	store      Store
	keepsState bool
	isAway     bool // the store failed: state decides until the job begins anew

	claims []claim.Claim
	owners []claim.Owner // by state, then by the store
	picks  []schemas.Pick
	blocks []*schemas.Block
}

// UseStore has the store judge instead of the core's own memory, and with keepsState both: then the
// core judges alone from the first failure of the store on. It is called before anything else.
func (c *Core) UseStore(s Store, keepsState bool) {
	c.shared = &shared{store: s, keepsState: keepsState}
}

// claim notes a click that is to be judged, by both memories where there are two.
func (c *Core) claim(b *schemas.Block, i int) {
	s := c.shared
	if s.isAway {
		mark(b, i, c.remember(b, i))
		return
	}
	var owner claim.Owner
	if s.keepsState {
		owner = c.remember(b, i)
	}
	if n := len(s.blocks); n == 0 || s.blocks[n-1] != b {
		s.blocks = append(s.blocks, b)
	}
	s.owners = append(s.owners, owner)
	s.picks = append(s.picks, schemas.Pick{Source: int32(len(s.blocks) - 1), Index: int32(i)})
	s.claims = append(s.claims, claim.Claim{Key: b.ClickKey[i], Position: b.Position(i), LogMillis: b.LogMillisColumn[i],
		ReceivedMicros: b.ReceivedMicros[i], KeepMicros: c.keepMicros(b.EventMillis[i]), Content: b.ContentHash[i]})
}

// settle asks the store about all claims and marks their clicks.
func (c *Core) settle() error {
	s := c.shared
	if s == nil || len(s.claims) == 0 {
		return nil
	}
	byState := s.owners
	owners := byState
	if s.keepsState {
		owners = make([]claim.Owner, len(byState))
	}
	switch err := s.store.Judge(s.claims, owners); {
	case err == nil:
	case s.keepsState:
		s.isAway, owners = true, byState
	default:
		return fmt.Errorf("dedup shard %d: %w", c.self, err)
	}
	for n, p := range s.picks {
		mark(s.blocks[p.Source], int(p.Index), owners[n])
	}
	clear(s.blocks)
	s.claims, s.owners, s.picks, s.blocks = s.claims[:0], s.owners[:0], s.picks[:0], s.blocks[:0]
	return nil
}
