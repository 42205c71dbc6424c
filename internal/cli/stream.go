package cli

import (
	"encoding/csv"
	"fmt"
	"reflect"
)

// stream prints rows one by one, as they come. T is a struct with table tags.
type stream[T any] struct {
	*output
	columns []column
	keep    func(reflect.Value) bool
	widths  []int // of the columns of a table, at least
}

// newStream prints the header, if the format has one. widths are those of columns by name.
func newStream[T any](o *output, widths map[string]int) (*stream[T], error) {
	t := reflect.TypeFor[T]()
	columns, err := o.selected(t)
	if err != nil {
		return nil, err
	}
	keep, err := filters(columnsOf(t), o.match)
	if err != nil {
		return nil, err
	}
	s := &stream[T]{output: o, columns: columns, keep: keep}
	for _, c := range columns {
		s.widths = append(s.widths, max(widths[c.name], len(c.header())))
	}
	switch {
	case o.format == "csv":
		return s, printCSV(o.env.Out, columns, nil)
	case o.people():
		return s, printTable(o.env.Out, [][]string{headers(columns)}, s.widths, "")
	}
	return s, nil
}

// print prints one row, unless it does not match.
func (s *stream[T]) print(row T) error {
	v := reflect.ValueOf(&row).Elem()
	if !s.keep(v) {
		return nil
	}
	rows := []reflect.Value{v}
	switch {
	case s.format == "json":
		object, err := jsonObject(s.columns, v)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(s.env.Out, "%s\n", harmless(object))
		return err
	case s.format == "csv":
		out := csv.NewWriter(s.env.Out)
		if err := out.Write(cells(s.columns, v, column.raw)); err != nil {
			return err
		}
		out.Flush()
		return out.Error()
	case s.people():
		return printTable(s.env.Out, s.table(s.columns, rows), s.widths, "")
	}
	return printTSV(s.env.Out, s.columns, rows)
}
