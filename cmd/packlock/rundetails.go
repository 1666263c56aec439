package main

// runDetails is what there is to know about run in rare cases.
const runDetails = `
What a parent that is no shell sees when a signal killed COMMAND: that the signal
killed run, as if it had started COMMAND itself. systemd counts a service that
"systemctl stop" ended as stopped, not as failed. Python's subprocess has -15 as
the return code, Go's ExitCode has -1. run leaves no core of its own. It exits with
128+N as process 1 of a container, which no signal that it sends itself can kill,
and on systems other than Linux after all signals but SIGHUP, SIGINT, SIGTERM and
SIGKILL, which Go keeps to itself there.

Process 1: in a container that has run as its first process, run reaps what COMMAND
leaves behind, as long as COMMAND runs. The container ends with COMMAND.

Which signals are passed on: all that a program can have and that are sent by
others, the real-time ones and SIGWINCH too. The exceptions are SIGCHLD, SIGURG,
SIGPROF, SIGPIPE, SIGXCPU, SIGXFSZ, SIGTSTP, SIGTTIN, SIGTTOU, faults such as
SIGSEGV, and 34, the first real-time signal, which Go leaves to C libraries.

How run knows that a signal was sent to the whole process group: on Linux it has
a second process there, a cat with all signals blocked, and looks in /proc whether
the signal is pending for that one, too. Without cat or /proc, and on other
systems, run takes SIGINT, SIGQUIT and SIGWINCH for typed if it is in the
foreground of a terminal, and passes on everything else. Then a COMMAND gets a
signal that was sent to the whole group twice. So it does in the first moment
after its start. A COMMAND in a process group of its own (timeout(1), setsid(1), a
shell with job control) gets everything from run.

Ignored signals: what run was started to ignore, COMMAND ignores, too. Go programs
learn that only of SIGHUP and SIGINT. On Linux run takes the others from its parent,
if that is a shell which ignores them: trap '' TERM. It misses what a parent that is
no shell set, or env --ignore-signal, and what was ignored in a subshell that run
took the place of; SIGQUIT in a shell that always ignores it (bash); and SIGTERM and
SIGQUIT in an interactive shell. Blocked signals stay blocked for COMMAND, except
SIGHUP, SIGINT, SIGQUIT, SIGABRT and SIGTERM, which Go unblocks.

Nested runs: that a run is part of a COMMAND under the same lock it learns from
PACKLOCK_HELD in its environment. On Linux it also learns it where the variable was
not handed on (sudo, env -i): from a locked descriptor that it inherited, and from
the locks of its ancestors, if one of them is a packlock run or a flock(1) of this
file. run waits for any other ancestor, which may release the lock at any time.

When to lock a file next to DIR instead: clone, initdb, "rsync --delete", "git clean
-fdx", "rm -rf" and systemd-tmpfiles delete what they do not know in DIR, also the
lock file, and a second run goes on beside the first. For a COMMAND that empties or
replaces DIR use

	packlock run -f DIR.lock -- COMMAND ARGS...

for all that use DIR.
`
