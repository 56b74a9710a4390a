package schemas

import "slices"

// Pick names a click of one of several blocks.
type Pick struct {
	Source int32 // index of the block
	Index  int32 // of the click in it
}

// Gather appends the picked clicks of the sources, with those of Columns that are asked for and
// that the sources have, all of them or none. It goes column by column, which costs a third of as
// many calls of AppendFrom.
func (b *Block) Gather(sources []*Block, picks []Pick, columns Columns) {
	if len(picks) == 0 {
		return
	}
	b.Partition = gather(b.Partition, sources, picks, func(s *Block) []int32 { return s.Partition })
	b.WinnerPartition = gather(b.WinnerPartition, sources, picks, func(s *Block) []int32 { return s.WinnerPartition })
	b.Offset = gather(b.Offset, sources, picks, func(s *Block) []int64 { return s.Offset })
	b.EventMillis = gather(b.EventMillis, sources, picks, func(s *Block) []int64 { return s.EventMillis })
	b.JudgeMillis = gather(b.JudgeMillis, sources, picks, func(s *Block) []int64 { return s.JudgeMillis })
	b.CostMicros = gather(b.CostMicros, sources, picks, func(s *Block) []int64 { return s.CostMicros })
	b.WinnerOffset = gather(b.WinnerOffset, sources, picks, func(s *Block) []int64 { return s.WinnerOffset })
	b.Verdict = gather(b.Verdict, sources, picks, func(s *Block) []Verdict { return s.Verdict })
	b.Rules = gather(b.Rules, sources, picks, func(s *Block) []Rules { return s.Rules })
	b.Flags = gather(b.Flags, sources, picks, func(s *Block) []ClickFlags { return s.Flags })
	b.ClickID.gather(sources, picks, func(s *Block) *Text { return &s.ClickID })
	b.RowKey.gather(sources, picks, func(s *Block) *Text { return &s.RowKey })
	if columns&ForDedup != 0 {
		b.ReceivedMicros = gather(b.ReceivedMicros, sources, picks, func(s *Block) []int64 { return s.ReceivedMicros })
		b.LogMillisColumn = gather(b.LogMillisColumn, sources, picks, func(s *Block) []int64 { return s.LogMillisColumn })
		b.ContentHash = gather(b.ContentHash, sources, picks, func(s *Block) []uint64 { return s.ContentHash })
		b.ClickKey = gather(b.ClickKey, sources, picks, func(s *Block) []Key128 { return s.ClickKey })
	}
	if columns&ForIP != 0 {
		b.IPKey = gather(b.IPKey, sources, picks, func(s *Block) []Key128 { return s.IPKey })
	}
	if columns&ForUser != 0 {
		b.UserKey = gather(b.UserKey, sources, picks, func(s *Block) []Key128 { return s.UserKey })
	}
	if columns&ForSink != 0 {
		b.Records = gather(b.Records, sources, picks, func(s *Block) []*Record { return s.Records })
	}
}

func gather[T any](dst []T, sources []*Block, picks []Pick, column func(*Block) []T) []T {
	columns := make([][]T, len(sources))
	for i, s := range sources {
		columns[i] = column(s)
	}
	if len(columns[0]) == 0 {
		return dst
	}
	from := len(dst)
	dst = slices.Grow(dst, len(picks))[:from+len(picks)]
	out := dst[from:]
	for i, p := range picks {
		out[i] = columns[p.Source][p.Index]
	}
	return dst
}

func (t *Text) gather(sources []*Block, picks []Pick, column func(*Block) *Text) {
	columns := make([]*Text, len(sources))
	for i, s := range sources {
		columns[i] = column(s)
	}
	total := len(t.Bytes)
	t.Ends = slices.Grow(t.Ends, len(picks))
	for _, p := range picks {
		total += len(columns[p.Source].At(int(p.Index)))
		t.Ends = append(t.Ends, uint32(total))
	}
	t.Bytes = slices.Grow(t.Bytes, total-len(t.Bytes))
	for _, p := range picks {
		t.Bytes = append(t.Bytes, columns[p.Source].At(int(p.Index))...)
	}
}
