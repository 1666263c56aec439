package packlock

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

func init() {
	childRoles["all"] = childAll
}

const (
	packsOfAll  = 10
	enoughOfAll = 100 // acquires of each process
)

// childAll is the role of a child that acquires all packs in the directory args[0],
// in the order args[1], again and again until it is told to finish, and counts in a
// file of each pack.
func childAll(args []string) error {
	var locks []*Lock
	for i := range packsOfAll {
		l, err := Open(filepath.Join(args[0], strconv.Itoa(i)))
		if err != nil {
			return err
		}
		locks = append(locks, l)
	}
	if args[1] == "backwards" {
		slices.Reverse(locks)
	}
	told := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(told)
	}()
	for n := 0; ; n++ {
		select {
		case <-told:
			fmt.Println(n)
			return nil
		default:
		}
		holds, err := AcquireAll(context.Background(), locks...)
		if err != nil {
			return err
		}
		for _, h := range holds {
			file := filepath.Join(filepath.Dir(h.Path()), "counter")
			content, _ := os.ReadFile(file)
			count, _ := strconv.Atoi(string(content))
			if err := os.WriteFile(file, []byte(strconv.Itoa(count+1)), 0o666); err != nil {
				return err
			}
		}
		if err := holds.Release(); err != nil {
			return err
		}
		if n == enoughOfAll {
			fmt.Println("enough")
		}
	}
}

// Two processes ask for the same packs in opposite orders, a hundred times and more.
// Neither gets stuck, and what they count is right.
func TestAllInOppositeOrdersByProcesses(t *testing.T) {
	needKernel(t)
	dir := t.TempDir()
	children := []*child{childStart(t, "all", dir, "forwards"), childStart(t, "all", dir, "backwards")}
	for _, c := range children {
		c.expect("enough")
	}
	want := 0
	for _, c := range children {
		c.stdin.Close()
		line, err := c.stdout.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(line[:len(line)-1])
		if err != nil || n == 0 {
			t.Fatalf("acquired %q", line)
		}
		want += n
		c.finish()
	}
	for i := range packsOfAll {
		content, err := os.ReadFile(filepath.Join(dir, strconv.Itoa(i), "counter"))
		if err != nil || string(content) != strconv.Itoa(want) {
			t.Errorf("pack %d: counted to %q (%v), want %d", i, content, err, want)
		}
	}
}
