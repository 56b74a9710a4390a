package shardstate

import (
	"fmt"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
)

// RingBags is the number of bags that the ring has.
const RingBags = 8

// Cells are an operator's state. Beam knows only those that are fields of the DoFn itself, so a DoFn
// has the fields Head, Recent0 to Recent7, Lasting and Inbox, which NameCells names and CellsOf finds.
type Cells struct {
	Head    state.Value[[]byte]
	Ring    [RingBags]state.Bag[[]byte]
	Lasting state.Bag[[]byte]
	Inbox   state.Bag[[]byte]
}

func (c *Cells) bags() map[string]*state.Bag[[]byte] {
	bags := map[string]*state.Bag[[]byte]{"Lasting": &c.Lasting, "Inbox": &c.Inbox}
	for i := range c.Ring {
		bags[fmt.Sprint("Recent", i)] = &c.Ring[i]
	}
	return bags
}

// MakeCells returns the cells by the names that they have in every operator.
func MakeCells() *Cells {
	c := &Cells{Head: state.MakeValueState[[]byte]("Head")}
	for name, bag := range c.bags() {
		*bag = state.MakeBagState[[]byte](name)
	}
	return c
}

// NameCells gives the cells of a DoFn, which is passed as a pointer, their names. It panics where a
// field is missing.
func NameCells(doFn any) {
	fields := reflect.ValueOf(doFn).Elem()
	c := MakeCells()
	fields.FieldByName("Head").Set(reflect.ValueOf(c.Head))
	for name, bag := range c.bags() {
		fields.FieldByName(name).Set(reflect.ValueOf(*bag))
	}
}

// CellsOf returns the cells of a DoFn, which is passed as a pointer.
func CellsOf(doFn any) Cells {
	fields := reflect.ValueOf(doFn).Elem()
	c := Cells{Head: fields.FieldByName("Head").Interface().(state.Value[[]byte])}
	for name, bag := range c.bags() {
		*bag = fields.FieldByName(name).Interface().(state.Bag[[]byte])
	}
	return c
}
