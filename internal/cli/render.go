package cli

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// output holds the flags that choose what is printed, and how.
type output struct {
	env     *Env
	format  string // table, wide, json, csv, or empty: table for a terminal, tab-separated otherwise
	columns []string
	sort    []string
	match   []string

	notes func(row reflect.Value) []string // lines below a row of the usual table, harmless for a terminal; nil: none
}

// outputFlags adds -o and --columns, and for lists --sort and --match.
func outputFlags(g *globals, cmd *cobra.Command, list bool) *output {
	o := &output{env: g.env}
	cmd.Flags().StringVarP(&o.format, "output", "o", "", "table, wide, json or csv (default: table on a terminal, else tab-separated values without a header)")
	cmd.Flags().StringSliceVar(&o.columns, "columns", nil, "columns to show, by their names in JSON")
	if list {
		cmd.Flags().StringSliceVar(&o.sort, "sort", nil, "columns to sort by; -NAME sorts downwards")
		cmd.Flags().StringArrayVar(&o.match, "match", nil, "only rows with COLUMN=GLOB or COLUMN!=GLOB, or with this text in some column; may be repeated")
	}
	return o
}

// noun names the rows in the count line.
type noun struct{ one, many string }

func (n noun) count(shown, all int) string {
	s := strconv.Itoa(shown)
	if shown != all {
		s += " of " + strconv.Itoa(all)
	}
	if all == 1 {
		return s + " " + n.one
	}
	return s + " " + n.many
}

// check refuses flags that make no sense, before the daemon is asked.
func (o *output) check(t reflect.Type) error {
	if !slices.Contains([]string{"", "table", "wide", "json", "csv"}, o.format) {
		return usagef("unknown output format %q; there are table, wide, json, csv", o.format)
	}
	if _, err := o.selected(t); err != nil {
		return err
	}
	if _, err := ordering(columnsOf(t), o.sort); err != nil {
		return err
	}
	_, err := filters(columnsOf(t), o.match)
	return err
}

// selected returns the columns to print.
func (o *output) selected(t reflect.Type) ([]column, error) {
	all := columnsOf(t)
	if len(o.columns) > 0 {
		return pick(all, o.columns)
	}
	if o.format == "" || o.format == "table" {
		all = slices.DeleteFunc(all, func(c column) bool { return c.wide })
	}
	return all, nil
}

// printList prints rows. T is a struct with table tags.
func printList[T any](o *output, n noun, rows []T) error {
	t := reflect.TypeFor[T]()
	all := columnsOf(t)
	columns, err := o.selected(t)
	if err != nil {
		return err
	}
	keep, err := filters(all, o.match)
	if err != nil {
		return err
	}
	order, err := ordering(all, o.sort)
	if err != nil {
		return err
	}
	values := make([]reflect.Value, 0, len(rows))
	for i := range rows {
		if v := reflect.ValueOf(&rows[i]).Elem(); keep(v) {
			values = append(values, v)
		}
	}
	slices.SortStableFunc(values, order)
	switch {
	case o.format == "json":
		return printJSON(o.env.Out, columns, values, false)
	case o.format == "csv":
		return printCSV(o.env.Out, columns, values)
	case !o.people():
		return printTSV(o.env.Out, columns, values)
	}
	var lines [][]string
	if len(values) > 0 {
		lines = append([][]string{headers(columns)}, o.table(columns, values)...)
	}
	return printTable(o.env.Out, lines, nil, n.count(len(values), len(rows))+"\n")
}

// people says whether a list is to be a table for people.
func (o *output) people() bool {
	return o.format == "table" || o.format == "wide" || o.format == "" && o.env.Terminal
}

func headers(columns []column) []string {
	line := make([]string, len(columns))
	for i, c := range columns {
		line[i] = c.header()
	}
	return line
}

// table returns the lines of a table without its header. One that shows all fields, or those that were asked for, has no notes.
func (o *output) table(columns []column, rows []reflect.Value) (lines [][]string) {
	for _, v := range rows {
		lines = append(lines, cells(columns, v, column.human))
		if o.notes == nil || o.format == "wide" || len(o.columns) > 0 {
			continue
		}
		for _, note := range o.notes(v) {
			lines = append(lines, []string{note})
		}
	}
	return lines
}

// printOne prints a single object, one field in each line where a list would have columns.
func printOne[T any](o *output, row T) error {
	t := reflect.TypeFor[T]()
	columns := columnsOf(t)
	if len(o.columns) > 0 {
		var err error
		if columns, err = pick(columns, o.columns); err != nil {
			return err
		}
	}
	v := reflect.ValueOf(&row).Elem()
	switch o.format {
	case "json":
		return printJSON(o.env.Out, columns, []reflect.Value{v}, true)
	case "csv":
		return printCSV(o.env.Out, columns, []reflect.Value{v})
	}
	pairs := func(name func(column) string, value func(column, reflect.Value) string) [][]string {
		lines := make([][]string, len(columns))
		for i, c := range columns {
			lines[i] = []string{name(c), escaped(value(c, v))}
		}
		return lines
	}
	if o.format == "" && !o.env.Terminal {
		return writeTSV(o.env.Out, pairs(func(c column) string { return c.name }, column.raw))
	}
	return printTable(o.env.Out, pairs(column.header, column.human), nil, "")
}

func cells(columns []column, row reflect.Value, value func(column, reflect.Value) string) []string {
	line := make([]string, len(columns))
	for i, c := range columns {
		line[i] = escaped(value(c, row))
	}
	return line
}

// printTable aligns the cells, whose columns have at least the given widths, and ends with a footer. A line of one cell is printed as
// it is.
func printTable(w io.Writer, lines [][]string, least []int, footer string) error {
	widths := slices.Clone(least)
	for _, line := range lines {
		if len(line) == 1 {
			continue
		}
		for i, cell := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, line := range lines {
		for i, cell := range line {
			b.WriteString(cell)
			if i < len(line)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		b.WriteByte('\n')
	}
	b.WriteString(footer)
	_, err := io.WriteString(w, b.String())
	return err
}

func printTSV(w io.Writer, columns []column, rows []reflect.Value) error {
	lines := make([][]string, len(rows))
	for i, row := range rows {
		lines[i] = cells(columns, row, column.raw)
	}
	return writeTSV(w, lines)
}

func writeTSV(w io.Writer, lines [][]string) error {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(strings.Join(line, "\t"))
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func printCSV(w io.Writer, columns []column, rows []reflect.Value) error {
	out := csv.NewWriter(w)
	header := make([]string, len(columns))
	for i, c := range columns {
		header[i] = c.name
	}
	if err := out.Write(header); err != nil {
		return err
	}
	for _, row := range rows {
		if err := out.Write(cells(columns, row, column.raw)); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// printJSON prints objects with the columns as keys, in their order.
func printJSON(w io.Writer, columns []column, rows []reflect.Value, single bool) error {
	objects := make([]json.RawMessage, len(rows))
	for i, row := range rows {
		var err error
		if objects[i], err = jsonObject(columns, row); err != nil {
			return err
		}
	}
	if single {
		return writeJSON(w, objects[0])
	}
	return writeJSON(w, objects)
}

// jsonObject is a row with the columns as keys, in their order.
func jsonObject(columns []column, row reflect.Value) (json.RawMessage, error) {
	b := []byte{'{'}
	for i, c := range columns {
		if i > 0 {
			b = append(b, ',')
		}
		value, err := json.Marshal(row.Field(c.index).Interface())
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, strconv.Quote(c.name)...), ':'), value...)
	}
	return append(b, '}'), nil
}

func writeJSON(w io.Writer, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, harmless(data)+"\n")
	return err
}

// harmless escapes what encoding/json leaves as it is but terminals obey (DEL, C1 controls, marks of direction); such characters occur
// in strings only.
func harmless(data []byte) string {
	var b strings.Builder
	for _, r := range string(data) {
		if r == '\n' || unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}
