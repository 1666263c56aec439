package main

// runDetails is what help leaves to the pages about run.
const runDetails = `
On Unix run itself dies of the signal that killed COMMAND or ended the wait. A
shell shows 128+N for that, and does not go on with a script after Ctrl-C.

Signals: what is sent to run is passed on to COMMAND, but for those below. A signal
to the process group of both, such as Ctrl-C, reaches COMMAND anyway, and is not
passed on.

Killed: on Unix COMMAND inherits the locked descriptor, so that the pack remains
locked while COMMAND runs on after run was killed. It also remains locked by
whatever COMMAND started in the background then. With -o, and on Windows, a
killed run releases the lock at once.

Lost: if the lock file is deleted or replaced while COMMAND runs, another process
may run at the same time. run checks that once a second and when COMMAND has ended,
and reports it on standard error. The exit status remains that of COMMAND.

Waiting: run names the holder of the lock after a second, then less and less
often, and says when it got it.

A COMMAND that is a script without "#!" is run by sh. If PATH is not set, COMMAND
is searched for in /bin and /usr/bin.

What a parent that is no shell sees when a signal killed COMMAND: that the signal
killed run, as if it had started COMMAND itself. systemd counts a service that
"systemctl stop" ended as stopped, not as failed. Python's subprocess has -15 as
the return code, Go's ExitCode has -1. run leaves no core of its own. It exits with
128+N as process 1 of a container, which no signal that it sends itself can kill,
and on systems other than Linux after all signals but SIGHUP, SIGINT, SIGTERM and
SIGKILL, which Go keeps to itself there.

Process 1: in a container that has run as its first process, run reaps what COMMAND
leaves behind, as long as COMMAND runs. The container ends with COMMAND.

Which signals are passed on: all that other programs send, SIGWINCH and the
real-time ones too. The exceptions are SIGCHLD, SIGURG, SIGPROF, SIGPIPE, SIGXCPU,
SIGXFSZ, SIGTSTP, SIGTTIN, SIGTTOU, faults such as SIGSEGV, and 34, the first
real-time signal, which Go leaves to C libraries.

How run knows that a signal was sent to the whole process group: on Linux it has
another process there, a cat with all signals blocked, and reads in /proc whether
the signal is pending there, too. Without cat or /proc, and on other systems, run in
the foreground of a terminal takes SIGINT, SIGQUIT and SIGWINCH for typed, and passes
on everything else. COMMAND then gets a signal to the whole group twice. That may
also happen in the first moment after its start. A COMMAND in a process group of its
own (timeout(1), setsid(1), a shell with job control) gets everything from run.

Ignored signals: COMMAND ignores what run was started to ignore. A Go program learns
that of SIGHUP and SIGINT only. On Linux run takes the others from its parent, if
that is a shell which ignores them: trap '' TERM. It misses what any other parent or
env --ignore-signal set, what was ignored in a subshell that became run by exec,
SIGQUIT in shells that always ignore it (bash), and SIGTERM and SIGQUIT in an
interactive shell. Blocked signals stay blocked for COMMAND, except SIGHUP, SIGINT,
SIGQUIT, SIGABRT and SIGTERM, which Go unblocks.

Nested runs: run learns from PACKLOCK_HELD in its environment that it is part of a
COMMAND under the same lock. Where that is not handed on (sudo, env -i), it learns it
on Linux from a locked descriptor that it inherited, and from the locks of its
ancestors, if one of them is a packlock run or a flock(1) of this file. run waits for
any other ancestor, which may release the lock at any time. A run -s as part of the
COMMAND of a run -s gets the lock at once, also while another process waits for it
exclusively. An exclusive run within a shared one is refused, and so is a shared one
within an exclusive one.

PACKLOCK_HELD has a line for each lock: the pid of the run, the path of the lock file
in quotes, the milliseconds since 1970 at which it was acquired, and the word shared
if it is.

When to lock a file next to DIR instead: clone, initdb, "rsync --delete", "git clean
-fdx", "rm -rf" and systemd-tmpfiles delete the lock file inside DIR, and then a second
run goes on while the first one still runs. For a COMMAND that empties or replaces DIR
use

	packlock run -f DIR.lock -- COMMAND ARGS...

in all programs that use DIR.
`
