package money

import (
	"errors"
	"math"
	"math/big"
	"testing"
	"testing/quick"
)

func TestRoundHalfEvenToDecimal4(t *testing.T) {
	t.Parallel()
	cases := []struct{ micros, want int64 }{
		{0, 0}, {49, 0}, {50, 0}, {51, 1}, {100, 1}, {149, 1}, {150, 2}, {151, 2}, {250, 2}, {251, 3}, {350, 4},
		{-49, 0}, {-50, 0}, {-51, -1}, {-150, -2}, {-250, -2}, {-350, -4},
		{math.MaxInt64, 92233720368547758}, {math.MinInt64, -92233720368547758},
	}
	for _, c := range cases {
		if got := RoundHalfEvenToDecimal4(c.micros); got != c.want {
			t.Errorf("RoundHalfEvenToDecimal4(%d) = %d, want %d", c.micros, got, c.want)
		}
	}
	odd := func(v int64) bool {
		return v == math.MinInt64 || RoundHalfEvenToDecimal4(-v) == -RoundHalfEvenToDecimal4(v)
	}
	if err := quick.Check(odd, nil); err != nil {
		t.Error(err)
	}
}

func TestDecimalString(t *testing.T) {
	t.Parallel()
	cases := []struct {
		text, canonical string
		want            Micros
		err             error
	}{
		{"0", "0", 0, nil},
		{"-0", "0", 0, nil},
		{"12.34", "12.34", 12_340_000, nil},
		{"0012.3400000000", "12.34", 12_340_000, nil},
		{"-0.000001", "-0.000001", -1, nil},
		{"9223372036854.775807", "9223372036854.775807", math.MaxInt64, nil},
		{"-9223372036854.775808", "-9223372036854.775808", math.MinInt64, nil},
		{"9223372036854.775808", "", 0, ErrOverflow},
		{"-9223372036854.775809", "", 0, ErrOverflow},
		{"99999999999999999999999", "", 0, ErrOverflow},
		{"0.0000001", "", 0, ErrSyntax},
		{"", "", 0, ErrSyntax}, {"-", "", 0, ErrSyntax}, {".5", "", 0, ErrSyntax}, {"5.", "", 0, ErrSyntax},
		{"+1", "", 0, ErrSyntax}, {"1e3", "", 0, ErrSyntax}, {" 1", "", 0, ErrSyntax}, {"--1", "", 0, ErrSyntax},
		{"1.2.3", "", 0, ErrSyntax}, {"٣", "", 0, ErrSyntax},
	}
	for _, c := range cases {
		got, err := FromDecimalString(c.text)
		if !errors.Is(err, c.err) || got != c.want {
			t.Errorf("FromDecimalString(%q) = %d, %v, want %d, %v", c.text, got, err, c.want, c.err)
		}
		if c.err == nil && got.Format() != c.canonical {
			t.Errorf("Format of %q = %q, want %q", c.text, got.Format(), c.canonical)
		}
	}
	roundTrip := func(v int64) bool {
		got, err := FromDecimalString(Micros(v).Format())
		return err == nil && got == Micros(v)
	}
	if err := quick.Check(roundTrip, nil); err != nil {
		t.Error(err)
	}
}

func TestArithmeticIsExactOrAnOverflow(t *testing.T) {
	t.Parallel()
	check := func(operation string, got Micros, err error, want *big.Int, a, b int64) {
		t.Helper()
		if want.IsInt64() != (err == nil) {
			t.Fatalf("%d %s %d: err = %v, exact result %s", a, operation, b, err, want)
		}
		if err == nil && int64(got) != want.Int64() {
			t.Fatalf("%d %s %d = %d, want %s", a, operation, b, got, want)
		}
		if err != nil && !errors.Is(err, ErrOverflow) {
			t.Fatalf("%d %s %d: err = %v", a, operation, b, err)
		}
	}
	try := func(a, b int64) bool {
		x, y := big.NewInt(a), big.NewInt(b)
		sum, err := Micros(a).Add(Micros(b))
		check("+", sum, err, new(big.Int).Add(x, y), a, b)
		difference, err := Micros(a).Sub(Micros(b))
		check("-", difference, err, new(big.Int).Sub(x, y), a, b)
		product, err := Micros(a).Mul(b)
		check("*", product, err, new(big.Int).Mul(x, y), a, b)
		return true
	}
	edges := []int64{0, 1, -1, 2, -2, math.MaxInt64, math.MinInt64, math.MaxInt64 - 1, math.MinInt64 + 1, 1 << 32, -(1 << 32), 3037000500}
	for _, a := range edges {
		for _, b := range edges {
			try(a, b)
		}
	}
	if err := quick.Check(try, &quick.Config{MaxCount: 2000}); err != nil {
		t.Error(err)
	}
}

func TestSumAndFormatDecimal4(t *testing.T) {
	t.Parallel()
	if got, err := Sum(1, 2, -3, 10); err != nil || got != 10 {
		t.Errorf("Sum = %d, %v", got, err)
	}
	if _, err := Sum(math.MaxInt64, 1); !errors.Is(err, ErrOverflow) {
		t.Errorf("Sum overflow: err = %v", err)
	}
	for units, want := range map[int64]string{0: "0.0000", -50: "-0.0050", 123456: "12.3456", -10000: "-1.0000"} {
		if got := FormatDecimal4(units); got != want {
			t.Errorf("FormatDecimal4(%d) = %q, want %q", units, got, want)
		}
	}
}

func FuzzFromDecimalString(f *testing.F) {
	f.Add("1.5")
	f.Add("-9223372036854.775808")
	f.Fuzz(func(t *testing.T, text string) {
		value, err := FromDecimalString(text)
		if err != nil {
			return
		}
		again, err := FromDecimalString(value.Format())
		if err != nil || again != value {
			t.Fatalf("%q: %d, then %d, %v", text, value, again, err)
		}
	})
}
