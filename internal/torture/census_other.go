//go:build !linux

package torture

func (*census) fromSystem(string) {}
