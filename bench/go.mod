module packlock/bench

go 1.26.0

replace packlock => ..

require (
	github.com/alexflint/go-filemutex v1.3.0
	github.com/danjacques/gofslock v0.0.0-20240212154529-d899e02bfe22
	github.com/gofrs/flock v0.13.1
	github.com/juju/mutex/v2 v2.0.0-20220203023141-11eeddb42c6c
	github.com/rogpeppe/go-internal v1.16.0
	go.etcd.io/etcd/client/pkg/v3 v3.7.3
	golang.org/x/sync v0.23.0
	golang.org/x/sys v0.49.0
	gonum.org/v1/plot v0.17.0
	packlock v0.0.0
)

require (
	codeberg.org/go-fonts/liberation v0.5.0 // indirect
	codeberg.org/go-latex/latex v0.2.0 // indirect
	codeberg.org/go-pdf/fpdf v0.11.1 // indirect
	git.sr.ht/~sbinet/gg v0.7.0 // indirect
	github.com/ajstarks/svgo v0.0.0-20211024235047-1546f124cd8b // indirect
	github.com/golang/freetype v0.0.0-20170609003504-e2365dfdc4a0 // indirect
	github.com/juju/errors v0.0.0-20220203013757-bd733f3c86b9 // indirect
	go.uber.org/multierr v1.11.0 // indirect
	go.uber.org/zap v1.27.1 // indirect
	golang.org/x/image v0.30.0 // indirect
	golang.org/x/text v0.28.0 // indirect
)
