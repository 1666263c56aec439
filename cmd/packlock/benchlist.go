package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// list is the value of a flag that takes one or several of something, with commas
// between them.
type list[T any] struct {
	parse  func(string) (T, error)
	values []T
}

func (l *list[T]) String() string {
	words := make([]string, len(l.values))
	for i, v := range l.values {
		words[i] = fmt.Sprint(v)
	}
	return strings.Join(words, ",")
}

func (l *list[T]) Set(s string) error {
	var values []T
	for word := range strings.SplitSeq(s, ",") {
		v, err := l.parse(strings.TrimSpace(word))
		if err != nil {
			return err
		}
		values = append(values, v)
	}
	l.values = values
	return nil
}

func parseNumber(s string) (int, error) {
	var n number
	err := n.Set(s)
	return int(n), err
}

// parsePercentile parses what 99.9 is in the 99.9th percentile.
func parsePercentile(s string) (float64, error) {
	p, err := strconv.ParseFloat(s, 64)
	if err != nil || !(p > 0 && p < 100) {
		return 0, errors.New("a percentile is a number between 0 and 100, such as 99.9")
	}
	return p, nil
}
