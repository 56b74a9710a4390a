// Package money holds amounts of money as whole micros: int64 counts of 1e-6 of a currency unit.
//
// It is pure arithmetic. Nothing here touches a float, every operation that can overflow says so,
// and the single rounding of the product (micros to units of 1e-4, half to even) lives here.
package money

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strings"
)

// Micros is an amount in 1e-6 of a currency unit. The currency is carried beside it; the zero
// value is no money.
type Micros int64

// PerUnit is the number of micros in one currency unit.
const PerUnit = 1_000_000

// microsPerDecimal4 is the number of micros in one unit of 1e-4.
const microsPerDecimal4 = 100

// fractionDigits is the number of decimal places of a Micros.
const fractionDigits = 6

// ErrOverflow is returned where a result does not fit into int64 micros.
var ErrOverflow = errors.New("amount of money overflows int64 micros")

// ErrSyntax is returned for text that is not a decimal amount with at most six decimal places.
var ErrSyntax = errors.New("not a decimal amount with at most 6 decimal places")

// Add returns m+other, or ErrOverflow.
func (m Micros) Add(other Micros) (Micros, error) {
	sum := m + other
	if (sum > m) != (other > 0) && other != 0 {
		return 0, fmt.Errorf("add %d and %d micros: %w", int64(m), int64(other), ErrOverflow)
	}
	return sum, nil
}

// Sub returns m-other, or ErrOverflow.
func (m Micros) Sub(other Micros) (Micros, error) {
	difference := m - other
	if (difference < m) != (other > 0) && other != 0 {
		return 0, fmt.Errorf("subtract %d from %d micros: %w", int64(other), int64(m), ErrOverflow)
	}
	return difference, nil
}

// Mul returns m times count (for example a price times a number of clicks), or ErrOverflow.
func (m Micros) Mul(count int64) (Micros, error) {
	high, low := bits.Mul64(magnitude(int64(m)), magnitude(count))
	negative := (m < 0) != (count < 0)
	switch {
	case high != 0 || low > 1<<63 || (low == 1<<63 && !negative):
		return 0, fmt.Errorf("multiply %d micros by %d: %w", int64(m), count, ErrOverflow)
	case negative:
		return Micros(-low), nil
	default:
		return Micros(low), nil
	}
}

// magnitude is the absolute value of v, exact for the smallest int64 too.
func magnitude(v int64) uint64 {
	if v < 0 {
		return -uint64(v)
	}
	return uint64(v)
}

// Sum adds all amounts, or returns ErrOverflow.
func Sum(amounts ...Micros) (Micros, error) {
	var total Micros
	for _, amount := range amounts {
		var err error
		if total, err = total.Add(amount); err != nil {
			return 0, err
		}
	}
	return total, nil
}

// Format returns the canonical decimal text: an optional minus, the whole units without leading
// zeros, and a point with the decimal places only where there are any ("0", "-0.5", "12.000001").
func (m Micros) Format() string {
	abs := magnitude(int64(m))
	sign := ""
	if m < 0 {
		sign = "-"
	}
	whole, fraction := abs/PerUnit, abs%PerUnit
	if fraction == 0 {
		return fmt.Sprintf("%s%d", sign, whole)
	}
	return fmt.Sprintf("%s%d.%s", sign, whole, strings.TrimRight(fmt.Sprintf("%06d", fraction), "0"))
}

// String is Format.
func (m Micros) String() string { return m.Format() }

// FromDecimalString reads decimal text such as "12.34" or "-0.000001" exactly. Leading and trailing
// zeros are allowed; exponents, a leading plus, spaces and non-zero digits past the sixth decimal
// place are ErrSyntax. It returns ErrOverflow for what does not fit.
func FromDecimalString(text string) (Micros, error) {
	digits, negative := strings.CutPrefix(text, "-")
	whole, fraction, hasPoint := strings.Cut(digits, ".")
	if whole == "" || (hasPoint && fraction == "") {
		return 0, fmt.Errorf("parse amount %q: %w", text, ErrSyntax)
	}
	fraction = strings.TrimRight(fraction, "0")
	if len(fraction) > fractionDigits {
		return 0, fmt.Errorf("parse amount %q: %w", text, ErrSyntax)
	}
	fraction += strings.Repeat("0", fractionDigits-len(fraction))
	var abs uint64
	for _, digit := range []byte(whole + fraction) {
		if digit < '0' || digit > '9' {
			return 0, fmt.Errorf("parse amount %q: %w", text, ErrSyntax)
		}
		if abs > (math.MaxUint64-9)/10 {
			return 0, fmt.Errorf("parse amount %q: %w", text, ErrOverflow)
		}
		abs = abs*10 + uint64(digit-'0')
	}
	if abs > 1<<63 || (abs == 1<<63 && !negative) {
		return 0, fmt.Errorf("parse amount %q: %w", text, ErrOverflow)
	}
	if negative {
		return Micros(-abs), nil
	}
	return Micros(abs), nil
}

// RoundHalfEvenToDecimal4 turns micros into units of 1e-4, half to even: 50 micros are 0 units,
// 150 micros are 2. It is odd (round(-x) = -round(x)) and cannot overflow.
func RoundHalfEvenToDecimal4(micros int64) int64 {
	quotient, remainder := micros/microsPerDecimal4, micros%microsPerDecimal4
	step := int64(1)
	if remainder < 0 {
		step, remainder = -1, -remainder
	}
	const half = microsPerDecimal4 / 2
	if remainder > half || (remainder == half && quotient%2 != 0) {
		quotient += step
	}
	return quotient
}

// FormatDecimal4 writes units of 1e-4 with exactly four decimal places, as a DECIMAL(15,4) column
// shows them ("-0.0050").
func FormatDecimal4(units int64) string {
	abs := magnitude(units)
	sign := ""
	if units < 0 {
		sign = "-"
	}
	return fmt.Sprintf("%s%d.%04d", sign, abs/10_000, abs%10_000)
}
