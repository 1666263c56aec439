package locktest_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"packlock/locktest"
)

// Is the file system of the temporary directory to be trusted with a lock? A
// program has to call locktest.Child at the start of main; here, TestMain does.
func ExampleCheck() {
	report, err := locktest.Check(context.Background(), os.TempDir())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("trusted:", report.Trusted)
	for _, c := range report.Checks {
		if c.Outcome == locktest.Failed {
			fmt.Println(c.Name, c)
		}
	}
	// Output: trusted: true
}
