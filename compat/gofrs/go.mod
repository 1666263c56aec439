module github.com/gofrs/flock

go 1.26.0

require packlock v0.0.0

require golang.org/x/sys v0.49.0 // indirect

replace packlock => ../..
