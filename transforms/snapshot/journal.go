package snapshot

// Journal is what an operator's core learned from one block.
type Journal struct {
	// Recent will be forgotten: it is needed until the core's horizon has reached Stamp, which never
	// goes back.
	Recent []byte
	Stamp  int64
	// Lasting is needed for long, and little.
	Lasting []byte
}
