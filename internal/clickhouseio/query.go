package clickhouseio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/clickledger/clickledger/schemas/serving"
)

// codeReadOnly is that of the server's exception for what writes.
const codeReadOnly = 164

// Query is serving.Store's. The server itself refuses what does not read. The user's grants are the
// wider fence: a query may read whatever they allow.
func (s *Store) Query(ctx context.Context, query string, args ...any) (*serving.Table, error) {
	only := settings()
	maps.Copy(only, clickhouse.Settings{
		"readonly":             1,
		"max_execution_time":   int(s.opts.QueryTimeout.Seconds()),
		"max_result_rows":      serving.MaxQueryRows + 1,
		"result_overflow_mode": "break",
	})
	ctx, cancel := context.WithTimeout(ctx, s.opts.QueryTimeout)
	defer cancel()
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(only))
	var table *serving.Table
	err := s.retry(ctx, "query", func() error {
		rows, err := s.conn.Query(ctx, query, args...)
		if err != nil {
			return err
		}
		table, err = readTable(rows)
		return errors.Join(err, rows.Close())
	})
	if e, ok := errors.AsType[*clickhouse.Exception](err); ok && e.Code == codeReadOnly {
		err = serving.ErrNotReadOnly
	}
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	return table, nil
}

func readTable(rows driver.Rows) (*serving.Table, error) {
	t := &serving.Table{}
	types := rows.ColumnTypes()
	for _, column := range types {
		t.Columns = append(t.Columns, column.Name())
		t.Types = append(t.Types, column.DatabaseTypeName())
	}
	for rows.Next() {
		if len(t.Rows) == serving.MaxQueryRows {
			t.IsTruncated = true
			break
		}
		targets := make([]any, len(types))
		for i, column := range types {
			targets[i] = reflect.New(column.ScanType()).Interface()
		}
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		values := make([]any, len(types))
		for i, target := range targets {
			values[i] = plain(reflect.ValueOf(target).Elem())
		}
		t.Rows = append(t.Rows, values)
	}
	return t, rows.Err()
}

// plain turns a value of the driver into one of those that serving.Table promises.
func plain(v reflect.Value) any {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		if v.IsNil() {
			return nil
		}
		if _, ok := reflect.TypeAssert[fmt.Stringer](v); ok && v.Kind() == reflect.Pointer && v.Elem().Kind() == reflect.Struct {
			break // *big.Int and its like
		}
		v = v.Elem()
	}
	if !v.IsValid() {
		return nil
	}
	switch value := v.Interface().(type) {
	case time.Time:
		return value.UTC()
	case fmt.Stringer:
		return value.String()
	}
	switch v.Kind() {
	case reflect.Bool:
		return v.Bool()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int()
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return int64(v.Uint())
	case reflect.Uint, reflect.Uint64:
		return v.Uint()
	case reflect.Float32, reflect.Float64:
		return v.Float()
	case reflect.String:
		return v.String()
	default:
		if bytes, ok := reflect.TypeAssert[[]uint8](v); ok { // an array of numbers, which JSON would take for text
			numbers := make([]int, len(bytes))
			for i, b := range bytes {
				numbers[i] = int(b)
			}
			v = reflect.ValueOf(numbers)
		}
		if text, err := json.Marshal(v.Interface()); err == nil {
			return string(text)
		}
		return fmt.Sprint(v.Interface())
	}
}
