package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// machine describes this machine, and the file system of path, in words. What
// the system does not tell in the way Linux does is left out.
func machine(path string) string {
	words := fmt.Sprintf("%d processors", runtime.NumCPU())
	if model := field("/proc/cpuinfo", "model name"); model != "" {
		words += " (" + model + ")"
	}
	words += ", " + runtime.GOOS + "/" + runtime.GOARCH
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		words += ", kernel " + strings.TrimSpace(string(release))
	}
	if fs := fileSystem(path); fs != "" {
		words += ", lock file on " + fs
	}
	return words + ", " + runtime.Version()
}

// field returns what the first line of file that begins with name says after a
// colon.
func field(file, name string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if before, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(before) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// fileSystem returns the type of the file system of path: that of the innermost
// mount point above it.
func fileSystem(path string) string {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return ""
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return ""
	}
	var innermost, kind string
	for line := range strings.Lines(string(mounts)) {
		var device, point, its string
		fmt.Sscan(line, &device, &point, &its)
		inside := path == point || strings.HasPrefix(path, strings.TrimSuffix(point, "/")+"/")
		if inside && len(point) >= len(innermost) {
			innermost, kind = point, its
		}
	}
	return kind
}
